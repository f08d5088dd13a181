"""How well the model tells the two classes of each pair apart, round by round."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dal.analysis.diagnosis.confusion import counts_of
from dal.analysis.diagnosis.history import Floats, History, Ints
from dal.analysis.diagnosis.thresholds import (
    MERGE_ALPHA,
    MERGE_AUC,
    MERGE_FIT,
    MERGE_LABELS,
    MERGE_MOST_PAIRS,
    MERGE_ROUNDS,
    MERGE_STEP,
    MERGE_TESTED,
)
from dal.analysis.statistics.auc import delong

# Guards, in the order in which they are asked. A pair that passes all is flagged.
SEPARABLE = "separable"
REVERSED = "told apart, with the classes exchanged"
FEW_TESTS = "too few test images"
FEW_LABELS = "too few labels"
NO_NEW_LABELS = "no new labels of both"
UNKNOWN_FIT = "unknown whether the network fits its labels"
UNFITTED = "the network does not fit its labels"
NEW = "only this once"
FLAGGED = ""

_LEAST_LOG = -1e4  # float16 stores the log of 0 as -inf, and differences of infinities are NaN
_LEAST_REST = 1e-4  # float16 does not know the sum of probabilities better than this


@dataclass(frozen=True)
class Pair:
    """Classes a < b as a round sees them. AUC, its error and its upper limit are of the difference of their logits."""

    a: int
    b: int
    round: int
    auc: float
    error: float
    z: float
    tested: tuple[int, int]
    labels: tuple[int, int]
    confused: int
    """Test images of one that this round takes for the other."""
    fit: float
    """Accuracy on the labels of the other classes; NaN if unknown."""
    guard: str
    """What keeps the pair back, or FLAGGED."""

    @property
    def low(self) -> float:
        return max(self.auc - self.z * self.error, 0.0)

    @property
    def high(self) -> float:
        return min(self.auc + self.z * self.error, 1.0)


def rounds_looked_at(history: History) -> list[int]:
    """Return every MERGE_STEP-th round with test predictions, so that the last is one of them."""
    return [int(round) for round in history.recorded[::-1][::MERGE_STEP][::-1]]


def quantile(num_classes: int) -> float:
    """Return how many errors the limits are away from an AUC, so that all pairs hold together.

    >>> round(quantile(10), 2)
    3.06
    """
    return float(stats.norm.ppf(1 - MERGE_ALPHA / max(num_classes * (num_classes - 1) // 2, 1)))


def pairs_of_round(history: History, round: int, before: dict[tuple[int, int], Pair]) -> dict[tuple[int, int], Pair]:
    """Return the pairs that have test images of both classes.

    before: what pairs_of_round() returned for the look before, empty at the first look.
    """
    confusion = counts_of(history, round)
    confused = confusion + confusion.T
    label, scores = _scores(history, round)
    places = [np.flatnonzero(label == number) for number in range(history.num_classes)]
    many = history.num_classes * (history.num_classes - 1) // 2 > MERGE_MOST_PAIRS
    labels = history.new_labels[: round + 1].sum(axis=0)
    gained = history.new_labels[max(round + 1 - MERGE_STEP, 0) : round + 1].sum(axis=0) > 0
    told, right = _fit(history, round)
    z = quantile(history.num_classes)
    found: dict[tuple[int, int], Pair] = {}
    for a in range(history.num_classes):
        for b in range(a + 1, history.num_classes):
            if not len(places[a]) or not len(places[b]) or (many and not confused[a, b]):
                continue
            difference = [scores[places[k], a] - scores[places[k], b] for k in (a, b)]
            auc, error = delong(*difference)
            others = told.sum() - told[a] - told[b]
            fit = float((right.sum() - right[a] - right[b]) / others) if others else float("nan")
            sizes = (len(places[a]), len(places[b]))
            bought = (int(labels[a]), int(labels[b]))
            pair = Pair(a, b, round, auc, error, z, sizes, bought, int(confused[a, b]), fit, FLAGGED)
            # This round alone; the look before must have found the same.
            guard = _guard(pair, bool(gained[a] and gained[b]))
            if guard == FLAGGED and not _was_inseparable(before.get((a, b))):
                guard = NEW
            found[a, b] = replace(pair, guard=guard)
    return found


def _guard(pair: Pair, gained: bool) -> str:
    if min(pair.tested) < MERGE_TESTED:
        # The error of the AUC is unknown, so only the AUC itself says whether the pair is worth a word.
        return FEW_TESTS if pair.auc < MERGE_AUC else SEPARABLE
    if not pair.high < MERGE_AUC:
        return SEPARABLE
    if pair.high < 0.5:
        return REVERSED
    if min(pair.labels) < MERGE_LABELS:
        return FEW_LABELS
    if not gained:
        return NO_NEW_LABELS
    if np.isnan(pair.fit):
        return UNKNOWN_FIT
    if pair.fit < MERGE_FIT:
        return UNFITTED
    return FLAGGED


def _was_inseparable(pair: Pair | None) -> bool:
    """Return whether the look before passed the guards on AUC, labels and new labels."""
    return pair is not None and pair.guard in (FLAGGED, NEW, UNFITTED, UNKNOWN_FIT)


def _scores(history: History, round: int) -> tuple[Ints, Floats]:
    """Return classes (t,) of the points that the round tested, and their mean log-probabilities (t, C).

    The means are over the last MERGE_ROUNDS rounds. Differences of log-probabilities are those of logits.
    """
    recorded = history.recorded
    window = recorded[recorded <= round][-MERGE_ROUNDS:]
    place = np.flatnonzero(history.tested[round])
    logs = np.full((len(window), len(place), history.num_classes), np.nan)
    for row, number in enumerate(window):
        logs[row] = _filled(history.test_log_prob[number, place])
        logs[row, ~history.tested[number, place]] = np.nan
    known = ~np.isnan(logs[:, :, 0])
    total = np.where(known[:, :, None], logs, 0.0).sum(axis=0)
    counted = known.sum(axis=0)
    usable = counted > 0
    return history.test_label[place[usable]], total[usable] / counted[usable, None]


def _filled(log_prob: Floats) -> Floats:
    """Return (t, C) with an even share of the rest for classes whose probability is not known; NaN without any."""
    logs = np.maximum(log_prob, _LEAST_LOG)
    missing = np.isnan(logs)
    some: NDArray[np.bool_] = np.asarray(missing.any(axis=1) & ~missing.all(axis=1), dtype=np.bool_)
    if not some.any():
        return logs
    part, gone = logs[some], missing[some]
    rest = np.maximum(1 - np.exp(np.where(gone, -np.inf, part)).sum(axis=1), _LEAST_REST)
    even = np.log(rest / gone.sum(axis=1))
    logs[some] = np.where(gone, even[:, None], part)
    return logs


def _fit(history: History, round: int) -> tuple[Ints, Ints]:
    """Return labels by class (C,) and how many of them the model predicts right, both 0 without a record."""
    trained = history.trained[round] if round < len(history.trained) else None
    num = history.num_classes
    if trained is None:
        return np.zeros(num, np.int64), np.zeros(num, np.int64)
    right = trained.predicted == trained.label
    return np.bincount(trained.label, minlength=num), np.bincount(trained.label[right], minlength=num)
