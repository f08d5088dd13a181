"""Loads the data of a run, with the images that the run started with."""

from __future__ import annotations

from pathlib import Path

from dal.config.schema import Built
from dal.data import load
from dal.data.images import ImageData, ImageSplits
from dal.data.sets.unlabeled_folder import UnlabeledFolder
from dal.labeling.people.start import first_images


def load_for_run(built: Built, run: Path) -> ImageSplits:
    """Load the data set of a run, whose points are its units.

    A folder that people label has the images with which the run started.

    Raises DalError as load() does, and for a damaged run folder.
    """
    data = built.data
    if isinstance(data, UnlabeledFolder):
        data = data.starting_with(first_images(run, data.root))
    return built.with_units(load(data))


def unit_word(data: ImageData, otherwise: str = "labels") -> str:
    """Return what a campaign on this data buys, in the plural."""
    return "regions" if data.units_per_image > 1 else otherwise


def data_in_words(splits: ImageSplits, test_size: int) -> str:
    """Return a description of the images. ``test_size`` is the size of the test set that is bought."""
    train, test = splits
    tested = "no test set" if test is None else f"{len(test):,} test images"
    tested = f"{test_size:,} of them for the test set" if test_size else tested
    regions = f" in {train.num_points:,} regions" if train.units_per_image > 1 else ""
    names = f"{', '.join(train.classes[:10])}{', ...' if len(train.classes) > 10 else ''}"
    return f"{len(train):,} images{regions} in the pool, {tested}, {len(train.classes)} classes: {names}"
