"""Labels worth a second look: those that a readout, fitted without them, finds least probable."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from dal.analysis.diagnosis.finding import NO_TEST, Detected, Finding, Lack, Reason
from dal.analysis.diagnosis.history import Floats, History, Ints
from dal.analysis.diagnosis.readout import readout
from dal.analysis.diagnosis.thresholds import (
    SUSPECT_FOLDS,
    SUSPECT_ISSUES,
    SUSPECT_MOST,
    SUSPECT_RESAMPLES,
    SUSPECT_SHARE,
)
from dal.analysis.diagnosis.words import counted, percent
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

    The lower 95 % limit of the estimated number of wrong labels, by a bootstrap of the labeled points, opens the
    gallery.
    """
    found = readout(history)
    if isinstance(found, Reason):
        return _unknown(*found)
    told = found.trained.label
    judged = np.flatnonzero(np.bincount(told, minlength=history.num_classes) >= SUSPECT_FOLDS)
    if len(judged) < 2:
        return _unknown(f"Fewer than two classes have {SUSPECT_FOLDS} labels.", Lack("too few labels"))
    rows = np.flatnonzero(np.isin(told, judged))
    place = np.searchsorted(judged, told[rows])
    probabilities = out_of_fold(found.labeled[rows], place, len(judged))
    ranking = _ranking(history, found.trained.index[rows], judged, place, probabilities)
    tested = np.flatnonzero(np.isin(found.test_label, judged))
    if not len(tested):
        reason = (
            "Without a test set, wrong labels cannot be told from hard ones. The ranking of all labels is in the CSV."
        )
        return _unknown(reason, NO_TEST, {"ranking": ranking})
    full = fit_head(found.labeled[rows], place, len(judged))
    test_place = np.searchsorted(judged, found.test_label[tested])
    estimate, low = _wrong_labels(place, probabilities, test_place, np.exp(full.log_probs(found.test[tested])))
    likely = math.ceil(estimate) if low > SUSPECT_ISSUES else 0
    shown = ranking.head(min(likely, max(SUSPECT_MOST, math.floor(SUSPECT_SHARE * len(rows)))))
    silenced = []
    if not likely and estimate >= 1:
        silenced.append(
            f"{estimate:.0f} of {len(rows)} labels are estimated to be wrong (95 % lower limit {low:.0f}): too few to "
            "show any."
        )
    if len(rows) < len(told):
        silenced.append(
            f"{len(told) - len(rows)} labels were not judged: their classes have fewer than {SUSPECT_FOLDS} labels."
        )
    return Detected(
        KEY,
        TITLE,
        (_finding(shown, estimate, low, len(rows)),) if len(shown) else (),
        f"No label stands out, of {len(rows)}. An error that is made every time is not found this way.",
        _method(len(rows)),
        silenced=tuple(silenced),
        tables={"suspects": shown, "ranking": ranking},
    )


def _unknown(reason: str, lack: Lack | None, tables: dict[str, pd.DataFrame] | None = None) -> Detected:
    method = "Self-confidence out of fold."
    return Detected(KEY, TITLE, (), reason, method, unknown=True, tables=tables or {}, lack=lack)


def out_of_fold(features: Floats, labels: Ints, num_classes: int) -> Floats:
    """Return (n, C) probabilities of each point by heads fitted without its fold. Folds are stratified."""
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


def _wrong_labels(
    labels: Ints, probabilities: Floats, test_label: Ints, test_probabilities: Floats
) -> tuple[float, float]:
    """Return the estimated number of wrong labels and its one-sided 95 % lower limit.

    Points between two classes look like errors, also in a test set without errors. Their share in the test set is taken
    off.
    """
    generator = np.random.default_rng(0)
    hard = len(labels) / len(test_label)
    estimates = [
        estimated_errors(labels[rows], probabilities[rows])
        - hard * estimated_errors(test_label[others], test_probabilities[others])
        for rows, others in zip(
            generator.integers(len(labels), size=(SUSPECT_RESAMPLES, len(labels))),
            generator.integers(len(test_label), size=(SUSPECT_RESAMPLES, len(test_label))),
            strict=True,
        )
    ]
    estimate = estimated_errors(labels, probabilities) - hard * estimated_errors(test_label, test_probabilities)
    return max(estimate, 0.0), max(float(np.quantile(estimates, 0.05)), 0.0)


def _ranking(history: History, index: Ints, judged: Ints, place: Ints, probabilities: Floats) -> pd.DataFrame:
    """Return all judged labels, the least probable first, each with the most probable other class."""
    points = np.arange(len(place))
    others = probabilities.copy()
    others[points, place] = -1
    p_told = probabilities[points, place]
    order = np.argsort(p_told, kind="stable")
    return pd.DataFrame(
        {
            "index": index[order],
            "id": [history.train_ids.get(int(i), str(int(i))) for i in index[order]],
            "told": judged[place][order],
            "suggested": judged[others.argmax(axis=1)][order],
            "p_told": p_told[order],
            "rank": np.arange(1, len(order) + 1),
        }
    )


def _finding(shown: pd.DataFrame, estimate: float, low: float, labels: int) -> Finding:
    verb = "is" if len(shown) == 1 else "are"
    sentence = (
        f"{counted(len(shown), 'label')} {verb} worth a second look, most suspicious first: {estimate:.0f} of {labels} "
        f"labels are estimated to be wrong (95 % lower limit {low:.0f}). {LIMIT}"
    )
    return Finding(
        KEY,
        sentence,
        1.5,
        tuple(sorted({int(told) for told in shown["told"]})),
        points=tuple(int(index) for index in shown["index"]),
        numbers={"shown": len(shown), "labels": labels, "estimated": estimate, "lower_limit": low},
    )


def _method(labels: int) -> str:
    return (
        f"Self-confidence: the probability of the told class by multinomial logistic regression (L2, C = 0.1) on the "
        f"last-layer features of {labels} labeled points, in {SUSPECT_FOLDS} folds without the point's own. The "
        f"features have seen the labels. Shown if the estimated number of wrong labels (confident learning, "
        f"less the share of such points in the test set, {SUSPECT_RESAMPLES} bootstrap samples) has a 95 % lower limit "
        f"above {SUSPECT_ISSUES:.0f}. At "
        f"most {SUSPECT_MOST} labels, or {percent(SUSPECT_SHARE)} if that is more. {LIMIT}"
    )
