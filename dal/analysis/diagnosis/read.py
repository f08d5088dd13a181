"""Reads the records of a run folder as a History, without PyTorch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dal.analysis.diagnosis.form import OF_CLASSES, Record, read_record
from dal.analysis.diagnosis.history import (
    NOT_TESTED,
    NOT_WRITTEN,
    Checks,
    Floats,
    History,
    Ints,
    LastFeatures,
    Layers,
    Pool,
    Trained,
)
from dal.errors import DalError
from dal.labeling.people.answers import Answers
from dal.runs.dynamics import FROM_POOL, dynamics_file, features_file, read_arrays
from dal.runs.files.committed import is_file, parsed, read_bytes
from dal.runs.files.points import committed_points
from dal.runs.files.state import State, read_state
from dal.runs.journal import Labeled
from dal.runs.layout import ANSWERS, DATA
from dal.runs.reader import Run, read_run
from dal.runs.round import Round


def read_history(path: str | Path) -> History:
    """Read the records of a run, up to its last commit.

    Rounds without records have None, and no test predictions; so have rounds whose file is damaged, and ``missing``
    says which. A test set that changes is the union of its points, with their last labels. Raises DalError as
    read_run() does, and for a run whose images have several classes each.
    """
    path = Path(path)
    while True:
        run, state = read_run(path), read_state(path)
        if state["rounds"] != len(run.rows):
            continue
        history = _history(run, state)
        # A run that goes on replaces the features of the last round, which is no damage.
        if read_state(path) == state or not (history.missing or history.missing_features):
            return history


def _history(run: Run, state: State) -> History:
    selections = run.points[0]
    if any(not isinstance(point.label, int) for point in selections):
        raise DalError(
            f"run: expected a run whose images have one class each, got several a label in {str(run.path)!r}. "
            "dal report shows its curves."
        )
    records, missing = _records(run, state)
    confusion = [_confusion(row) for row in run.rows]
    points = committed_points(run.path, state)
    widths = [len(matrix) for matrix in confusion if matrix is not None]
    names = _class_names(run, state, points, records, max(widths, default=0))
    index = _test_index(records)
    of_test = _of_test([record or {} for record in records], index, len(names))
    is_bought = any(record and int(record.get("test_of", 0)) == FROM_POOL for record in records)
    last = max((round for round, record in enumerate(records) if record), default=len(records) - 1)
    features, missing_features = _features_or_why(run.path, last, state, records[last] or {}, index)
    return History(
        classes=names,
        labels_bought=run.labels_bought,
        starts=[str(row.get("warm_start") or "scratch") for row in run.rows],
        query_sizes=_by_round(selections, len(run.rows), len(names)).sum(axis=1) + _outside(selections, len(run.rows)),
        new_labels=_by_round(selections, len(run.rows), len(names)),
        test_label=of_test[0],
        test_predicted=of_test[1],
        test_log_prob=of_test[2],
        stop_predicted=[_ints(record, "stop_predicted") for record in records],
        trained=[_trained(record) for record in records],
        pool=[_pool(record, len(names)) for record in records],
        layers=[_layers(record) for record in records],
        checks=[_checks(record) for record in records],
        features=features,
        test_of="train" if is_bought else "test",
        test_index=index,
        test_ids=_ids(points, "train" if is_bought else "test", index),
        train_ids={point.index: point.id for point in selections},
        confusion=[None if one is None else np.pad(one, (0, len(names) - len(one))) for one in confusion],
        missing=missing,
        missing_features=missing_features,
    )


def _records(run: Run, state: State) -> tuple[list[Record | None], dict[int, str]]:
    """Return the records of all rounds, and why some rounds have none."""
    records: list[Record | None] = []
    missing: dict[int, str] = {}
    for round in range(len(run.rows)):
        try:
            records.append(read_record(run.path, round, state))
        except DalError as error:
            records.append(None)
            missing[round] = _what_is_wrong(run.path, dynamics_file(round), error)
        else:
            if records[-1] is None:
                missing[round] = NOT_WRITTEN
    return records, missing


def _what_is_wrong(folder: Path, name: str, error: DalError) -> str:
    if not os.path.lexists(folder / name):
        return f"{name} is missing"
    cause = error.__cause__
    return f"{name} cannot be read ({cause.strerror})" if isinstance(cause, OSError) else f"{name} is damaged"


def _confusion(row: Round) -> Ints | None:
    """Return the confusion matrix of a row of the journal, or None if it has none."""
    try:
        matrix = np.asarray(row.get("test_confusion_matrix"))
    except ValueError:
        return None
    is_square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] > 0
    if not is_square or matrix.dtype.kind != "i" or matrix.min() < 0:
        return None
    return matrix.astype(np.int64)


def _class_names(
    run: Run, state: State, points: Mapping[str, Any] | None, records: Sequence[Record | None], least: int
) -> list[str]:
    """Return the names of at least ``least`` classes; people may have added some. Numbers stand for missing names."""
    names: list[str] = []
    if DATA in state.get("digests", {}):
        data = read_bytes(run.path, DATA)
        facts: Any = parsed(run.path, DATA, lambda: json.loads(data))
        found = facts.get("classes", []) if isinstance(facts, dict) else []
        names = [str(name) for name in found] if isinstance(found, list) else []
    if not names and points is not None:
        names = list(points["classes"])
    if "asks" in state and names and is_file(run.path / ANSWERS):
        names = list(Answers(run.path, names).refresh().classes.names)
    most = max(least, max((point.label for point in run.points[0]), default=-1) + 1)
    for record in filter(None, records):
        most = max(most, *(int(record[name].max()) + 1 for name in OF_CLASSES if name in record and record[name].size))
        widths = [record[name].shape[-1] for name in ("test_log_prob", "pool_counts") if name in record]
        most = max(most, *widths, 0)
    return names + [str(number) for number in range(len(names), most)]


def _test_index(records: Sequence[Record | None]) -> Ints:
    """Return the indices of all points that a round tested."""
    of = [record["test_index"] for record in records if record and "test_index" in record]
    return np.unique(np.concatenate(of)).astype(np.int64) if of else np.empty(0, np.int64)


def _of_test(records: Sequence[Record], index: Ints, num_classes: int) -> tuple[Ints, Ints, Floats]:
    """Return the last labels, and the predicted classes and log-probabilities by round."""
    label = np.zeros(len(index), dtype=np.int64)
    predicted = np.full((len(records), len(index)), NOT_TESTED, dtype=np.int64)
    log_prob = np.full((len(records), len(index), num_classes), np.nan)
    for round, record in enumerate(records):
        if "test_index" not in record:
            continue
        at = np.searchsorted(index, record["test_index"])
        label[at], predicted[round, at] = record["test_label"], record["test_predicted"]
        if "test_log_prob" in record:
            found = record["test_log_prob"]
            log_prob[round, at, : found.shape[1]] = found
        elif "test_top" in record:
            log_prob[round, at, record["test_label"]] = record["test_own_log_prob"]
            log_prob[round, at[:, None], record["test_top"]] = record["test_top_log_prob"]
    return label, predicted, log_prob


def _by_round(selections: Sequence[Labeled], num_rounds: int, num_classes: int) -> Ints:
    """Return the (R, C) number of training labels that each round adds."""
    counts = np.zeros((num_rounds, num_classes), dtype=np.int64)
    for point in selections:
        if point.round < num_rounds and point.label >= 0:
            counts[point.round, point.label] += 1
    return counts


def _outside(selections: Sequence[Labeled], num_rounds: int) -> Ints:
    """Return the (R,) number of labels that name none of the classes."""
    rounds = [point.round for point in selections if point.round < num_rounds and point.label < 0]
    return np.bincount(rounds, minlength=num_rounds).astype(np.int64) if rounds else np.zeros(num_rounds, np.int64)


def _ints(record: Record | None, name: str) -> Ints | None:
    return None if record is None or name not in record else record[name].astype(np.int64)


def _floats(record: Record, *names: str) -> list[Floats]:
    return [record[name].astype(np.float64) for name in names]


def _trained(record: Record | None) -> Trained | None:
    if record is None or "labeled_index" not in record:
        return None
    names = ("labeled_index", "labeled_label", "labeled_round", "labeled_predicted")
    index, label, bought, predicted = (record[name].astype(np.int64) for name in names)
    log_prob, margin, before = _floats(record, "labeled_log_prob", "labeled_margin", "labeled_before")
    return Trained(index, label, bought, predicted, log_prob, margin, before)


def _pool(record: Record | None, num_classes: int) -> Pool | None:
    if record is None or "pool_counts" not in record:
        return None
    more = (0, num_classes - len(record["pool_counts"]))  # classes that people added later
    counts = np.pad(record["pool_counts"].astype(np.int64), more)
    return Pool(counts, np.pad(record["pool_probabilities"].astype(np.float64), more), int(record["pool_size"]))


def _layers(record: Record | None) -> Layers | None:
    if record is None or "layer_names" not in record:
        return None
    norm, change, cka, rank = _floats(record, "layer_norm", "layer_change", "layer_cka", "layer_rank")
    return Layers(record["layer_names"].tolist(), norm, change, cka, rank, record["layer_width"].astype(np.int64))


def _checks(record: Record | None) -> Checks | None:
    if record is None or "check_updates" not in record:
        return None
    held_out, labeled = _floats(record, "check_held_out_loss", "check_labeled_loss")
    return Checks(
        record["check_updates"].astype(np.int64),
        "test" if int(record["check_held_out_of"]) else "validation",
        held_out,
        record["check_held_out_right"],
        labeled,
        record["check_labeled_right"],
    )


def _features_or_why(
    folder: Path, round: int, state: State, record: Record, index: Ints
) -> tuple[LastFeatures | None, str]:
    """Return the features of a round, or None and what is wrong with their file."""
    try:
        return _features(folder, round, state, record, index), ""
    except DalError as error:
        return None, _what_is_wrong(folder, features_file(round), error)


def _features(folder: Path, round: int, state: State, record: Record, index: Ints) -> LastFeatures | None:
    """Return the features of a round, or None if it has none of labeled points."""
    name = features_file(round)
    if name not in state.get("digests", {}):
        return None
    found = read_arrays(folder, name, state)
    return parsed(folder, name, lambda: _last_features(found, record, index))


def _last_features(found: Record, record: Record, index: Ints) -> LastFeatures | None:
    if "labeled_features" not in found or "labeled_index" not in record:
        return None
    labeled = found["labeled_features"].astype(np.float64)
    place = np.searchsorted(index, record["test_index"]) if "test_index" in record else np.empty(0, np.int64)
    test = found["test_features"].astype(np.float64) if "test_features" in found else np.empty((0, labeled.shape[1]))
    at = place[found["test_position"]] if "test_position" in found else np.empty(0, np.int64)
    if len(labeled) != len(record["labeled_index"]) or len(at) != len(test) or test.shape[1:] != labeled.shape[1:]:
        raise ValueError("lengths differ")
    names = found["layer_names"].tolist() if "layer_names" in found else []
    both = [(f"layer{i}_test", f"layer{i}_labeled") for i in range(len(names))]
    if not names or not all(name in found for pair in both for name in pair):
        return LastFeatures(test, at, labeled)
    of_test, of_labeled = ([found[name].astype(np.float64) for name in side] for side in zip(*both, strict=True))
    position, row = place[found["layer_position"]], found["layer_labeled_row"].astype(np.int64)
    if any(len(a) != len(position) or len(b) != len(row) for a, b in zip(of_test, of_labeled, strict=True)):
        raise ValueError("lengths differ")
    return LastFeatures(test, at, labeled, names, of_test, position, of_labeled, row)


def _ids(points: Mapping[str, Any] | None, split: str, index: Ints) -> list[str]:
    """Return the ids of points, or their indices in a run without ids."""
    ids = [] if points is None or split not in points else points[split]["ids"]
    return [ids[i] if i < len(ids) else str(i) for i in index.tolist()]
