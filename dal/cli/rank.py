"""`dal rank`: ranks a pool with the model of a run."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from dal.cli.terminal import CampaignProgress
from dal.config.overrides import check_overrides, compose, quoted, under_current_keys
from dal.config.schema import build
from dal.data import load
from dal.data.images import ImageData, ImageSplits
from dal.data.sets.image_folder import unlabeled_folder
from dal.errors import DalError, bad_value
from dal.runs.atomic import write_text
from dal.runs.folder import read_run_folder
from dal.runs.layout import CONFIG, ranking_file
from dal.runs.saved_config import load_config
from dal.scoring.candidates import CandidatesConfig


def rank_command(
    run: str, overrides: Sequence[str] = (), pool: str | None = None, top: int | None = None, output: str | None = None
) -> Path:
    """Rank the unlabeled points of a run, or new images, as CSV.

    The columns are ``rank,index,id,score``. ``pool`` is a folder of new images.

    Raises DalError if the folder is not a run with a trained round, or if the new images do not fit the run.
    """
    path = Path(run)
    config = _with_overrides(load_config(path / CONFIG), list(overrides))
    # Ranking uses the whole pool and needs no candidates, so a missing features file must not prevent it.
    built = replace(build(config), candidates=CandidatesConfig())
    train = load(built.data).train
    records = read_run_folder(path, train.fingerprint())
    if records.weights is None:
        raise DalError(f"run: {run!r} has no trained round yet. Wait for it, or resume it with dal run.")
    new = None if pool is None else _new_images(config, train, pool)
    console = Console(highlight=False)
    with CampaignProgress(console) as progress:
        learner = built.learner(ImageSplits(train, None), progress)
        learner.restore(records)
        ranking = learner.rank(top, new)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "index", "id", "score"])
    writer.writerows(enumerate_rows(ranking.indices, ranking.ids, ranking.scores))
    name = config["acquisition"]["name"]
    target = Path(output).expanduser() if output else path / ranking_file(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, text.getvalue())
    console.print(f"{len(ranking):,} images ranked by {name}. First: {', '.join(ranking.ids[:3])}.")
    console.print(f"Ranking: {target}")
    return target


def enumerate_rows(*columns: Sequence[Any]) -> list[list[Any]]:
    """Return the columns as rows, each starting with its rank.

    >>> enumerate_rows([7, 5], ["b", "a"])
    [[0, 7, 'b'], [1, 5, 'a']]
    """
    return [[rank, *values] for rank, values in enumerate(zip(*columns, strict=True))]


def _new_images(config: Mapping[str, Any], train: ImageData, folder: str) -> ImageData:
    settings = config["data"]
    if settings["name"] != "image_folder":
        raise bad_value("--pool", "a run on data=image_folder, which sets an image size", settings["name"])
    return unlabeled_folder(folder, image_size=settings["image_size"], classes=train.classes)


def _with_overrides(saved: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Return the saved configuration with the overrides applied."""
    if not overrides:
        return saved
    overrides = under_current_keys(quoted(overrides))
    acquisition = saved["acquisition"]
    groups = [f"data={saved['data']['name']}", f"acquisition={acquisition.get('file', acquisition['name'])}"]
    # If a key occurs twice, Hydra uses the last value.
    chosen = [str(o.key_or_group) for o in check_overrides([*quoted(groups), *overrides])[len(groups) :]]
    groups = quoted([group for group in groups if group.partition("=")[0] not in chosen])
    composed = compose(["experiment=none", *groups, *overrides])
    for key in chosen:
        *parents, last = key.split(".")
        source, target = composed, saved
        for parent in parents:
            source, target = source[parent], target.setdefault(parent, {})
        target[last] = source[last]
    return saved
