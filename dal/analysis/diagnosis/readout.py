"""The last layer of a run as a linear readout that detectors fit again: features, labels and queries."""

from __future__ import annotations

from dataclasses import dataclass

from dal.analysis.diagnosis.finding import NO_FEATURES, Reason, few_labels
from dal.analysis.diagnosis.history import Floats, History, Ints, Trained
from dal.analysis.diagnosis.thresholds import LEAST_LABELS
from dal.analysis.statistics.logistic import standardized


@dataclass(frozen=True, eq=False)
class Readout:
    """Standardized last-layer features of the last recorded round, with L labeled and t test points."""

    trained: Trained
    labeled: Floats
    """(L, E)."""
    test: Floats
    """(t, E)."""
    test_label: Ints
    """(t,)."""


def readout(history: History) -> Readout | Reason:
    """Return the readout of the last recorded round, or what it lacks."""
    features, trained = history.features, last_trained(history)
    if features is None or trained is None or not features.labeled.shape[-1]:
        return Reason("The run has no record of last-layer features.", NO_FEATURES)
    if len(features.labeled) != len(trained.label):
        return Reason("The recorded features do not belong to the last recorded labels.")
    if len(trained.label) < LEAST_LABELS:
        reason = f"{len(trained.label)} labels are too few: a readout needs {LEAST_LABELS}."
        return Reason(reason, few_labels(len(trained.label), LEAST_LABELS))
    if len(set(trained.label.tolist())) < 2:
        return Reason(f"All labels are of one class, {history.classes[int(trained.label[0])]}.")
    test = features.test.reshape(-1, features.labeled.shape[1])
    labeled, tested = standardized(features.labeled, test)
    return Readout(trained, labeled, tested, history.test_label[features.test_position])


def last_trained(history: History) -> Trained | None:
    """Return the record of the labeled points of the last round that has one."""
    return next((record for record in reversed(history.trained) if record is not None), None)
