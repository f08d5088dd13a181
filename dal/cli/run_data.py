"""Loads the data of a run, with the images that the run started with."""

from __future__ import annotations

from pathlib import Path

from dal.data import load
from dal.data.images import ImageSplits
from dal.data.sets.config import DataConfig
from dal.data.sets.unlabeled_folder import UnlabeledFolder
from dal.labeling.people.start import first_images


def load_for_run(data: DataConfig, run: Path) -> ImageSplits:
    """Load a data set. A folder that people label has the images with which the run started.

    Raises DalError as load() does, and for a damaged run folder.
    """
    if isinstance(data, UnlabeledFolder):
        data = data.starting_with(first_images(run, data.root))
    return load(data)
