"""`dal rank`: ranks a pool with the model of a run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dal.campaign.people_state import restore_with_people
from dal.cli.ranking import SUFFIXES, Ranking, check_format
from dal.cli.recorded_data import recorded_training_set
from dal.cli.run_data import load_for_run, unit_word
from dal.cli.terminal import CampaignProgress
from dal.config.saved_run import config_to_rank
from dal.config.schema import build
from dal.data.images import ImageData, ImageSplits
from dal.data.masks import NoMasks
from dal.data.sets.image_folder import unlabeled_folder
from dal.errors import DalError, bad_value
from dal.labeling.people.oracle import People
from dal.runs.files.atomic import write_text
from dal.runs.files.output import output_file
from dal.runs.layout import ranking_file
from dal.runs.restored import read_run_folder
from dal.runtime.console import SafeConsole
from dal.runtime.refusals import explained
from dal.runtime.user_paths import user_path
from dal.scoring.candidates import CandidatesConfig

_FOLDERS = ("image_folder", "mask_folder")
"""Data sets whose runs can rank the images of another folder."""

_IGNORED = {"campaign", "candidates", "compute", "oracle", "prices", "run_dir", "training"} | {
    f"model.{name}" for name in ("lr", "momentum", "optimizer", "schedule", "weight_decay")
}
_IGNORED |= {"acquisition.max_per_image", "acquisition.per_cost"}
"""Sections and settings that a ranking does not use."""


def rank_command(
    run: str,
    overrides: Sequence[str] = (),
    pool: str | None = None,
    top: int | None = None,
    output: str | None = None,
    format: str = "csv",
) -> Path:
    """Rank the unlabeled points of a run, or new images, as CSV or COCO JSON.

    The columns are ``rank,index,id,score``, and those of the box of a region in its image file. ``pool`` is a folder of
    new images. An id that a spreadsheet would read as a formula gets a leading apostrophe. The index identifies the
    point.

    Raises DalError if the folder is damaged or is not a run with a trained round, or if the new images do not fit the
    run. Also raises it if the function is in a Python file that the overrides do not name and this machine has not run.
    """
    check_format(format)
    path = Path(run)
    config = config_to_rank(path, overrides)
    _warn_about_ignored(overrides)
    # Ranking uses the whole pool and needs no candidates, so a missing features file must not prevent it.
    # It trains nothing, so devices and loggers of another machine must not prevent it either.
    built = replace(build(config), candidates=CandidatesConfig())
    built = replace(built, trainer={k: v for k, v in built.trainer.items() if (k, v) == ("accelerator", "cpu")})
    name = config["acquisition"]["name"]
    target = user_path(output) if output else path / ranking_file(name, SUFFIXES[format], pool)
    file = output_file(target)  # before the slow part
    if pool is not None:
        _check_pool(config)
    train = None if pool is None else recorded_training_set(built.data, path)
    train = train or load_for_run(built, path).train
    records = read_run_folder(path, train.fingerprint())
    if records.weights is None:
        raise DalError(f"run: {run!r} has no trained round yet. Wait for it, or resume it with dal run.")
    new = None if pool is None else _new_images(config, train, pool)
    console = SafeConsole()
    with CampaignProgress(console) as progress:
        splits = ImageSplits(train, None)
        learner, oracle = built.learner(splits, progress), built.oracle_for(splits, progress)
        if isinstance(oracle, People):
            learner = restore_with_people(learner, replace(oracle, folder=path), built.campaign, records)
            learner.pool.exclude(train.points_of(sorted(train.gaps)))
        else:
            learner.restore(records)
        most = learner.pool.num_unlabeled if new is None else new.num_points
        if top is not None and not 1 <= top <= most:
            raise bad_value("--top", f"a whole number from 1 to {most:,}, the number of points", top)
        ranking = learner.rank(top, new)
    text = Ranking(train if new is None else new, ranking).text(format)
    with explained("output", target, "Choose another file with --output."):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
    unit = unit_word(train, otherwise="images")
    console.print(f"{len(ranking):,} {unit} ranked by {name}. First: {', '.join(ranking.ids[:3])}.")
    console.print(f"Ranking: {target}")
    own = path / ranking_file(name, SUFFIXES[format])
    if pool is not None and own.is_file():
        console.print(f"The ranking of the run's own pool is another file: {own}")
    return target


def _warn_about_ignored(overrides: Sequence[str]) -> None:
    """Warn about settings of training and of the campaign, which a ranking does not use."""
    keys = [text.partition("=")[0].lstrip("+~") for text in overrides]
    ignored = [key for key in keys if key.partition(".")[0] in _IGNORED or key in _IGNORED]
    if ignored:
        warnings.warn(f"{', '.join(ignored)}: dal rank trains nothing and ignores this setting.", stacklevel=3)


def _check_pool(config: Mapping[str, Any]) -> None:
    if config["data"]["name"] not in _FOLDERS:
        expected = f"a run on data={' or '.join(_FOLDERS)}, which set an image size"
        raise bad_value("--pool", expected, config["data"]["name"])


def _new_images(config: Mapping[str, Any], train: ImageData, folder: str) -> ImageData:
    settings = config["data"]
    found = unlabeled_folder(
        folder, image_size=settings["image_size"], classes=train.classes, cache=settings.get("cache")
    )
    if not train.task.is_dense:
        return found
    masks = NoMasks(len(found), train.units.height, train.units.width)
    return replace(found, task=train.task, masks=masks, region_size=train.region_size)
