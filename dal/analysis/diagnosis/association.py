"""Whether classes gained recall in the rounds that bought their labels, over all classes together."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pandas as pd
from scipy import stats

from dal.analysis.diagnosis.finding import NO_TEST, Detected, Finding, Lack, few_rounds
from dal.analysis.diagnosis.history import Floats, History, Ints
from dal.analysis.diagnosis.thresholds import ASSOCIATION_ALPHA, ASSOCIATION_PERMUTATIONS
from dal.analysis.diagnosis.words import counted, p_value

KEY = "association"
TITLE = "New labels and change of recall"
METHOD = (
    "Spearman's rank correlation over rounds of a class's new labels with the change of its recall on the same test "
    "images, as a mean over classes. The test permutes which class's labels go with which curve, so what all classes "
    "share does not count. One look: the correlation of a single class says nothing over so few rounds."
)
LEAST_CLASSES = 4  # 24 permutations, the first number that allows p < 0.05
LEAST_CHANGES = 4


def detect(history: History) -> Detected:
    """Test the association of new labels with changes of recall."""
    if not len(history.recorded):
        return _unknown("Without predictions of a test set, changes of recall are not known.", NO_TEST)
    rounds = [round for round in history.recorded.tolist() if round and history.tested[round - 1].any()]
    if len(rounds) < LEAST_CHANGES:
        reason = f"{counted(len(rounds), 'change')} of recall: a correlation needs {LEAST_CHANGES}."
        return _unknown(reason, few_rounds(len(rounds) + 1, LEAST_CHANGES + 1))
    change = np.stack([_change(history, round) for round in rounds])
    labels = history.new_labels[rounds].astype(np.float64)
    usable = np.isfinite(change).all(axis=0) & (np.ptp(labels, axis=0) > 0)
    usable &= np.ptp(np.where(np.isfinite(change), change, 0.0), axis=0) > 0
    numbers = np.flatnonzero(usable)
    if len(numbers) < LEAST_CLASSES:
        return _unknown(
            f"{counted(len(numbers), 'class', 'classes')} with test images and with new labels and recall that "
            f"vary: a test needs {LEAST_CLASSES}."
        )
    correlation = _spearman(labels[:, numbers], change[:, numbers])
    pooled = float(np.diag(correlation).mean())
    p = permutation_p_value(correlation)
    table = pd.DataFrame({"correlation": [pooled], "p": [p], "classes": [len(numbers)], "rounds": [len(rounds)]})
    numbers_said = f"mean rank correlation {pooled:.2f} over {len(numbers)} classes and {len(rounds)} rounds"
    findings: tuple[Finding, ...] = ()
    if p < ASSOCIATION_ALPHA:
        sentence = (
            "Over all classes, recall rose more in the rounds that bought more labels of the class "
            f"({numbers_said}; {p_value(p)}, one look)."
        )
        values = {"correlation": pooled, "p": p, "classes": len(numbers), "rounds": len(rounds)}
        findings = (Finding(KEY, sentence, 0.0, numbers=values),)
    quiet = (
        "No association of new labels of a class with the change of its recall was seen "
        f"({numbers_said}; {p_value(p)})."
    )
    return Detected(KEY, TITLE, findings, quiet, METHOD, tables={"association": table})


def permutation_p_value(correlation: Floats) -> float:
    """Return the share of permutations of the rows with a mean diagonal at least as large as that of the rows as given.

    correlation: (K, K). All permutations are counted if there are few, and else random ones and the one as given.

    >>> permutation_p_value(np.eye(4)), permutation_p_value(np.zeros((4, 4)))
    (0.041666666666666664, 1.0)
    """
    number = len(correlation)
    if math.factorial(min(number, 12)) <= ASSOCIATION_PERMUTATIONS:
        orders = np.array(list(permutations(range(number))))
        added = 0
    else:
        generator = np.random.default_rng(0)
        orders = generator.permuted(np.tile(np.arange(number), (ASSOCIATION_PERMUTATIONS, 1)), axis=1)
        added = 1
    sums = correlation[orders, np.arange(number)].sum(axis=1)
    reached = int((sums >= np.trace(correlation) - 1e-9).sum())
    return (reached + added) / (len(orders) + added)


def _unknown(reason: str, lack: Lack | None = None) -> Detected:
    return Detected(KEY, TITLE, (), reason, METHOD, unknown=True, lack=lack)


def _change(history: History, round: int) -> Floats:
    """Return (C,) changes of recall since the round before, NaN without common test points."""
    common = history.tested[round - 1] & history.tested[round]
    label, num = history.test_label[common], history.num_classes
    gained: Ints = history.right[round, common].astype(np.int64) - history.right[round - 1, common]
    total = np.bincount(label, minlength=num)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(label, gained, num) / total, dtype=np.float64)


def _spearman(labels: Floats, change: Floats) -> Floats:
    """Return (K, K) correlations of ranks: labels of the row's class with changes of the column's class."""
    ranks = [stats.rankdata(values, axis=0) for values in (labels, change)]
    centered = [values - values.mean(axis=0) for values in ranks]
    normal = [values / np.sqrt((values**2).sum(axis=0)) for values in centered]
    return np.asarray(normal[0].T @ normal[1], dtype=np.float64)
