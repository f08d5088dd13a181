"""Loads the labels of a run, to train them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dal.campaign.people_state import merged, restore_with_people
from dal.campaign.reordered import LabelsOfRun
from dal.cli.run_data import load_for_run
from dal.config.saved_run import config_to_rank
from dal.config.schema import Built, build
from dal.data.images import ImageSplits
from dal.errors import DalError
from dal.labeling.people.oracle import People
from dal.loop import ActiveLearner
from dal.runs.environment import warn_of_other_threads
from dal.runs.records import Records
from dal.runs.restored import read_run_folder
from dal.runs.round import Round


@dataclass(frozen=True)
class RunToTrain:
    """A run with its settings, data and labels."""

    path: Path
    built: Built
    splits: ImageSplits
    """With the classes that people added."""
    rows: Sequence[Round]
    labels: LabelsOfRun

    def learner(self, seed: int, built: Built | None = None) -> ActiveLearner:
        """Return a new learner with the settings of the run, or with other ones."""
        return replace(built or self.built, seed=seed).learner(self.splits)


def load_run(path: Path, what: str) -> RunToTrain:
    """Load the labels that the rounds of a run trained on.

    Labels of people come from their answers. Raises DalError for a run without a configuration, a finished round or a
    test set, for damaged files, and for other data. ``what`` is compared on the test set.
    """
    built = build(config_to_rank(path, []))
    splits = load_for_run(built, path)
    records = read_run_folder(path, splits.fingerprint())
    warn_of_other_threads(path)
    if not records.rows:
        raise DalError(f"run: {str(path)!r} has no trained round yet. Wait for it, or resume it with dal run.")
    learner, splits = _restored(built, splits, records, path)
    labels = _labels_of(learner, records)
    if splits.test is None and labels.test is None:
        raise DalError(
            f"run: expected a run with a test set, got none in {str(path)!r}. {what} are compared on a test set."
        )
    return RunToTrain(path, built, splits, records.rows, labels)


def _restored(built: Built, splits: ImageSplits, records: Records, path: Path) -> tuple[ActiveLearner, ImageSplits]:
    """Return the learner as the records leave it, and the data with the classes that people changed."""
    learner, oracle = built.learner(splits), built.oracle_for(splits)
    if not isinstance(oracle, People):
        learner.restore(records)
        return learner, splits
    people = replace(oracle, folder=path)
    learner = restore_with_people(learner, people, built.campaign, records)
    fold = people.fold(records.answers_seq or 0)
    test = None if splits.test is None else merged(splits.test, fold)
    return learner, ImageSplits(replace(splits.train, classes=list(fold.classes.names)), test)


def _labels_of(learner: ActiveLearner, records: Records) -> LabelsOfRun:
    indices, labels = learner.data.trainable((learner.pool.labeled, learner.pool.labels(learner.pool.labeled)))
    rounds = learner.pool.rounds(indices)
    fitted = rounds < len(records.rows)
    sizes = [int((rounds == number).sum()) for number in range(len(records.rows))]
    updates = [row.updates for row in records.rows]
    test = None if learner.test is None else (learner.test[0].tolist(), learner.test[1].tolist())
    # A round without new labels of its own adds its updates to the round before.
    kept_sizes: list[int] = []
    kept_updates: list[int] = []
    for size, count in zip(sizes, updates, strict=True):
        if size or not kept_sizes:
            kept_sizes.append(size)
            kept_updates.append(count)
        else:
            kept_updates[-1] += count
    return LabelsOfRun(
        indices[fitted].tolist(),
        labels[fitted].tolist(),
        kept_sizes,
        kept_updates,
        test,
        rounds[fitted].tolist(),
    )
