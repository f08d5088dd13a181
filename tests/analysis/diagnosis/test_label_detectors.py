"""Cases that all detectors of labels and queries must take."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from helpers.labeled_histories import simulated, without_records, without_test

from dal.analysis.diagnosis import collect, forgetting, information, queries, suspects
from dal.analysis.diagnosis.history import LastFeatures

DETECTORS = [forgetting, suspects, information, queries, collect]
HISTORY = simulated(rounds=8)[0]
EMPTY = np.empty((0, 0))


def one_class():
    history, _ = simulated(rounds=4, weights=[0, 0, 1, 0, 0])
    return history


CASES = {
    "one round": simulated(rounds=1)[0],
    "two rounds": simulated(rounds=2)[0],
    "no test set": replace(HISTORY, **without_test(HISTORY)),
    "one class": one_class(),
    "few labels": simulated(rounds=3, query=2)[0],
    "one label a query": simulated(rounds=12, query=1)[0],
    "many classes": simulated(rounds=5, query=60, classes=100, test=300)[0],
    "two classes": simulated(rounds=6, classes=2)[0],
    "no features": replace(HISTORY, features=None),
    "features without points": replace(HISTORY, features=LastFeatures(EMPTY, np.empty(0, np.int64), EMPTY)),
    "features of other labels": replace(
        HISTORY, features=replace(HISTORY.features, labeled=HISTORY.features.labeled[:50])
    ),
    "rounds without records": replace(HISTORY, **without_records(HISTORY, [0, 3, 4])),
    "no record": replace(HISTORY, features=None, **without_records(HISTORY, list(range(8)))),
    "no pool": replace(HISTORY, pool=[None] * 8),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.KEY)
def test_every_history_gets_findings_or_a_sentence(detector, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = detector.detect(CASES[name])
    assert found.detector == detector.KEY
    assert found.quiet.endswith(".") and found.method.endswith(".")
    for finding in found.findings:
        assert finding.sentence.endswith(".")
        assert "nan" not in finding.sentence


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.KEY)
def test_the_same_history_gives_the_same_result(detector):
    one, other = detector.detect(HISTORY), detector.detect(HISTORY)
    assert one.findings == other.findings
    assert all(one.tables[name].equals(other.tables[name]) for name in one.tables)


@pytest.mark.parametrize("detector", [suspects, queries, collect], ids=lambda detector: detector.KEY)
def test_without_a_test_set_the_reason_is_said(detector):
    found = detector.detect(CASES["no test set"])
    assert found.unknown
    assert found.quiet.startswith("Without a test set")


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.KEY)
def test_clean_runs_raise_no_alarm(detector):
    alarms = [seed for seed in range(5) if detector.detect(simulated(seed, test=120)[0]).findings]
    assert alarms == []
