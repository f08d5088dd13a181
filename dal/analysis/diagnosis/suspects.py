"""Labels worth a second look: those that a readout, fitted without them, finds least probable."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dal.analysis.diagnosis.finding import Detected, Finding
from dal.analysis.diagnosis.history import Floats, History, Ints
from dal.analysis.diagnosis.readout import readout
from dal.analysis.diagnosis.thresholds import (
    SUSPECT_FOLDS,
    SUSPECT_ISSUES,
    SUSPECT_MOST,
    SUSPECT_RESAMPLES,
    SUSPECT_SHARE,
)
from dal.analysis.statistics.label_errors import estimated_errors
from dal.analysis.statistics.logistic import fit_head

KEY = "suspects"
TITLE = "Labels worth a second look"
LIMIT = (
    "Hard, rare and wrong labels look alike. An error that is made every time looks right and is not found this way; "
    "see the classes that were lost."
)


def detect(history: History) -> Detected:
    """Rank labels by their probability out of fold, and show some if wrong labels are likely among them.

    The guard is the lower 95 % limit of the estimated number of wrong labels, by a bootstrap of the labeled points.
    """
    found = readout(history)
    if isinstance(found, str):
        return _unknown(found)
    told = found.trained.label
    judged = np.flatnonzero(np.bincount(told, minlength=history.num_classes) >= SUSPECT_FOLDS)
    rows = np.flatnonzero(np.isin(told, judged))
    if len(judged) < 2:
        return _unknown(f"Fewer than two classes have {SUSPECT_FOLDS} labels.")
    probabilities = _out_of_fold(found.labeled[rows], np.searchsorted(judged, told[rows]), len(judged))
    ranking = _ranking(history, found.trained.index[rows], told[rows], judged, probabilities)
    estimate, low = _wrong_labels(np.searchsorted(judged, told[rows]), probabilities)
    most = max(SUSPECT_MOST, math.floor(SUSPECT_SHARE * len(rows)))
    shown = ranking.head(min(most, math.ceil(estimate)) if low > SUSPECT_ISSUES else 0)
    counted = f"{estimate:.0f} of {len(rows)} labels are estimated to be wrong (95 % lower limit {max(low, 0):.0f})"
    silenced = []
    if not len(shown) and estimate >= 1:
        silenced.append(f"Suspects: {counted}, which is not more than {SUSPECT_ISSUES:.0f} for sure.")
    if len(rows) < len(told):
        silenced.append(
            f"{len(told) - len(rows)} labels were not judged: their classes have fewer than {SUSPECT_FOLDS} labels."
        )
    return Detected(
        KEY,
        TITLE,
        (_finding(shown, counted, len(rows)),) if len(shown) else (),
        f"No label stands out, of {len(rows)}. An error that is made every time is not found this way.",
        _method(len(rows)),
        silenced=tuple(silenced),
        tables={"suspects": shown, "ranking": ranking},
    )


def _unknown(reason: str) -> Detected:
    return Detected(KEY, TITLE, (), reason, "Self-confidence out of fold.", unknown=True)


def _out_of_fold(features: Floats, labels: Ints, num_classes: int) -> Floats:
    """Return (n, C) probabilities of each point by heads fitted without its fold. Folds have equal shares of classes."""
    order = np.random.default_rng(0).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), dtype=np.int64)
    fold[order] = np.arange(len(labels)) % SUSPECT_FOLDS
    probabilities = np.empty((len(labels), num_classes))
    for number in range(SUSPECT_FOLDS):
        out = fold == number
        head = fit_head(features[~out], labels[~out], num_classes)
        probabilities[out] = np.exp(head.log_probs(features[out]))
    return probabilities


def _wrong_labels(labels: Ints, probabilities: Floats) -> tuple[float, float]:
    """Return the estimated number of wrong labels and its one-sided 95 % lower limit."""
    generator = np.random.default_rng(0)
    estimates = [
        estimated_errors(labels[rows], probabilities[rows])
        for rows in generator.integers(len(labels), size=(SUSPECT_RESAMPLES, len(labels)))
    ]
    return estimated_errors(labels, probabilities), float(np.quantile(estimates, 0.05))


def _ranking(
    history: History, index: Ints, told: Ints, judged: Ints, probabilities: Floats
) -> pd.DataFrame:
    """Return labels whose class is not the most probable one first, and by the probability of the told class."""
    p_told = probabilities[np.arange(len(told)), np.searchsorted(judged, told)]
    others: NDArray[np.float64] = probabilities.copy()
    others[np.arange(len(told)), np.searchsorted(judged, told)] = -1
    order = np.argsort(p_told, kind="stable")
    return pd.DataFrame(
        {
            "index": index[order],
            "id": [history.train_ids.get(int(i), str(int(i))) for i in index[order]],
            "told": told[order],
            "suggested": judged[others.argmax(axis=1)][order],
            "p_told": p_told[order],
            "rank": np.arange(1, len(order) + 1),
        }
    )


def _finding(shown: pd.DataFrame, counted: str, labels: int) -> Finding:
    number = len(shown)
    noun = "label is" if number == 1 else "labels are"
    sentence = f"{number} {noun} worth a second look, most suspicious first: {counted}. {LIMIT}"
    return Finding(
        KEY,
        sentence,
        1.5,
        tuple(sorted({int(told) for told in shown["told"]})),
        points=tuple(int(index) for index in shown["index"]),
        numbers={"shown": number, "labels": labels},
    )


def _method(labels: int) -> str:
    return (
        f"Self-confidence: the probability of the told class by multinomial logistic regression (L2, C = 0.1) on the "
        f"last-layer features of {labels} labeled points, in {SUSPECT_FOLDS} folds without the point's own. The "
        f"features have seen the labels. Shown if the estimated number of wrong labels (confident learning, "
        f"{SUSPECT_RESAMPLES} bootstrap samples) has a 95 % lower limit above {SUSPECT_ISSUES:.0f}; at most "
        f"{SUSPECT_MOST} or {SUSPECT_SHARE:.0%} of the labels. {LIMIT}"
    )
