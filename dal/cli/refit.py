"""`dal explain RUN --refit`: trains the labels of a run again with one change, as the proof of a finding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from rich.table import Column, Table
from torch import nn

from dal.analysis.refits import LEAST_SEEDS, RefitEffect, change_in_words, left_out, refit_effects, verdict
from dal.campaign.reordered import bought_test, train_at_once
from dal.cli.labels_of_run import RunToTrain, load_run
from dal.cli.refit_change import changed_model, parse_change
from dal.config.saved_run import config_to_rank
from dal.config.schema import Built, build
from dal.costs.flops import FlopCounter
from dal.data.images import known_indices
from dal.errors import DalError, bad_value
from dal.reports.comparison.terminal import say
from dal.runs.files.state import read_state
from dal.runs.layout import CONFIG
from dal.runs.refits import FOLDER, UNCHANGED, Arm, Basis, read_arm, read_arms, write_arm
from dal.runs.round import Round
from dal.runs.settings import plain_settings
from dal.runtime.console import SafeConsole
from dal.runtime.safe_text import visible
from dal.tasks import CLASSIFICATION
from dal.training.trainer.lightning import termination

MOST_SEEDS = 1000


def refit_command(run: str, changes: Sequence[str], seeds: int = 3) -> list[Path]:
    """Train the labels of a run with each change and without one, each with the same seeds, and compare them.

    All labels are trained on in one round from new weights, with the updates of the run since its last new weights.
    Finished trainings are in RUN/refit, and the same command continues after an interrupt. Raises DalError for an
    unknown or impossible change, another task than classification, a run without a configuration, a finished round or
    a test set, and damaged files.
    """
    wanted = [parse_change(text) for text in changes]
    if not LEAST_SEEDS <= seeds <= MOST_SEEDS:
        raise bad_value("--seeds", f"{LEAST_SEEDS} to {MOST_SEEDS:,} with --refit", seeds)
    path = Path(run)
    _check_config(path)
    built = build(config_to_rank(path, []))
    loaded = load_run(path, "Networks")
    if loaded.splits.train.task.name != CLASSIFICATION.name:
        raise DalError("--refit: expected a run in which each image has one class, got one with several per image.")
    basis = _basis(loaded)
    arms = [Arm(UNCHANGED, 0.0, basis), *(change.of(basis) for change in wanted)]
    arms = [_finished(path, arm) for arm in {arm.name: arm for arm in arms}.values()]
    for arm in arms[1:]:
        _check_labels(arm)
    models = [replace(built, model=changed_model(built.model, arm, loaded.splits.train)) for arm in arms]
    console = SafeConsole(soft_wrap=True)
    left = [(at, seed) for seed in range(seeds) for at, arm in enumerate(arms) if seed not in arm.trainings]
    say(console, _bill(loaded, models, [at for at, _ in left], basis))
    with Progress(console=console, transient=True) as progress, termination():
        total = len(arms) * seeds
        task = progress.add_task("trainings", total=total, completed=total - len(left))
        for at, seed in left:
            arm = arms[at]
            positions = np.flatnonzero(~left_out(arm)).tolist()
            learner = loaded.learner(seed, models[at])
            training = train_at_once(learner, loaded.labels, positions, basis.updates, loaded.splits.test)
            arms[at] = replace(arm, trainings={**arm.trainings, seed: training})
            write_arm(path, arms[at])
            progress.advance(task)
    names = {arm.name for arm in arms}
    for effect in refit_effects(read_arms(path)):
        if effect.arm.name in names:
            say(console, verdict(effect))
            console.print(_table(effect))
    files = [path / FOLDER / f"{arm.name}.json" for arm in arms]
    say(console, f"Written: {path / FOLDER}. The next dal explain shows this on its page.")
    return files


def _check_config(path: Path) -> None:
    """Raise DalError for a run of the library, whose model only its program can make."""
    read_state(path)
    if not (path / CONFIG).is_file():
        raise DalError(
            f"--refit: expected a run of dal run or dal label, got {str(path)!r}, which has no {CONFIG}: only the "
            "program that made the run can train its model again."
        )


def _basis(loaded: RunToTrain) -> Basis:
    """Return what all trainings share."""
    labels, test = loaded.labels, loaded.splits.test
    learner = loaded.learner(0)
    if test is not None:
        tested = test.labels[known_indices(test)].tolist()
        places = known_indices(test).tolist()
    else:
        assert labels.test is not None
        learner.tell_test(*labels.test)
        places, tested = (values.tolist() for values in bought_test(learner))
    updates = _updates(loaded.rows)
    model, training = (plain_settings(section) for section in (loaded.built.model, loaded.built.training))
    trained = [labels.indices, labels.labels, labels.rounds, updates, places, tested]
    key = hashlib.sha256(json.dumps([*trained, str(model), str(training)]).encode()).hexdigest()
    return Basis(key, updates, list(learner.data.classes), tested, labels.labels, labels.rounds)


def _updates(rows: Sequence[Round]) -> int:
    """Return the updates since the last new weights."""
    return sum(row.updates for row in _since_new_weights(rows))


def _since_new_weights(rows: Sequence[Round]) -> Sequence[Round]:
    starts = [at for at, row in enumerate(rows) if (row.get("warm_start") or "scratch") == "scratch"]
    return rows[starts[-1] if starts else 0 :]


def _finished(path: Path, arm: Arm) -> Arm:
    """Return the arm with its finished trainings, if they have the same basis."""
    found = read_arm(path, arm.name)
    if found is None or found.basis.key != arm.basis.key:
        return arm
    return replace(arm, trainings=found.trainings)


def _check_labels(arm: Arm) -> None:
    """Raise DalError if an arm leaves no label out, or all."""
    out, text = left_out(arm), f"--refit without={arm.value:g}"
    if arm.name.startswith("without") and not out.any():
        rounds = sorted(set(arm.basis.bought))
        raise DalError(
            f"{text}: expected a round or a class with labels, got none. Rounds {rounds[0]} to {rounds[-1]} have some."
        )
    if out.all():
        raise DalError(f"{text}: expected to leave a part of the labels out, got all {len(out):,} labels of the run.")


def _bill(loaded: RunToTrain, models: Sequence[Built], left: Sequence[int], basis: Basis) -> str:
    if not left:
        return "All trainings are there already."
    # The trainings read images of the size that the last round read.
    rows, is_half = _since_new_weights(loaded.rows), loaded.built.training.is_half_size
    rows = [row for row in rows if is_half(row.num_labeled) == is_half(rows[-1].num_labeled)]
    costs, times = [row.cost(("train", "test")) for row in rows], basis.updates / _updates(rows)
    seconds = times * sum(cost.seconds for cost in costs)
    flops = times * sum(cost.total_flops for cost in costs)
    one = _forward_flops(loaded, models[0])
    total = sum(_forward_flops(loaded, models[at]) / one if one else 1.0 for at in left)
    trainings = f"{len(left)} training{'' if len(left) == 1 else 's'}"
    return (
        f"{trainings} on {len(basis.label):,} labels with {basis.updates:,} updates each: about "
        f"{total * seconds / 60:.1f} minutes and {total * flops / 1e9:,.1f} GFLOP by this run's own training. Ctrl-C "
        "keeps the finished ones."
    )


def _forward_flops(loaded: RunToTrain, built: Built) -> int:
    """Return the FLOPs of one image."""
    data = loaded.splits.train
    model: nn.Module = built.model.build(data.image_shape, data.num_classes, data.task, data.statistics)
    with torch.no_grad(), FlopCounter() as counter:
        model.eval()(torch.zeros(1, *data.image_shape))
    return int(counter.flops.forward)


def _table(effect: RefitEffect) -> Table:
    names = ("unchanged", "changed", "change, points", "95 % interval", "p")
    table = Table("accuracy", *[Column(name, justify="right") for name in names], title=change_in_words(effect))
    rows = [("test", effect.test, effect.p), ("labeled", effect.labeled, effect.labeled.p)]
    rows += [(f"recall of {effect.arm.basis.classes[one.number]}", one.recall, one.p) for one in effect.changed_classes]
    for name, one, p in rows:
        before, after, low, high = (100 * value for value in (one.before, one.after, one.low, one.high))
        cells = (
            f"{before:.1f} %",
            f"{after:.1f} %",
            f"{after - before:+.1f}",
            f"{low:+.1f} to {high:+.1f}",
            f"{p:.2g}",
        )
        table.add_row(visible(name), *cells)
    return table
