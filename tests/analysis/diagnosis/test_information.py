from dataclasses import replace

import numpy as np
import pytest
from helpers.labeled_histories import simulated, without_records

from dal.analysis.diagnosis import information


def with_surprise(bits):
    """The new labels of each round had this many bits each."""
    history, _ = simulated(0)
    trained = [
        replace(record, before=np.where(np.isnan(record.before), np.nan, -bits[number] * np.log(2)))
        for number, record in enumerate(history.trained)
    ]
    return replace(history, trained=trained)


def test_bits_by_hand():
    history, _ = simulated(0)
    found = information.detect(history)
    record = history.trained[3]
    new = (record.bought == 3) & (record.label == 1)
    row = found.tables["bits"].set_index(["round", "class"]).loc[(3, 1)]
    assert row["labels"] == new.sum()
    assert row["surprise"] == pytest.approx(-np.log2(np.exp(record.before[new])).mean())
    assert row["gain"] == pytest.approx(((record.log_prob - record.before)[new] / np.log(2)).mean())
    loss = [-history.test_log_prob[r][np.arange(200), history.test_label].mean() / np.log(2) for r in (3, 4)]
    test = found.tables["test"].set_index("round")
    assert test.loc[4, "bits_per_label"] == pytest.approx((loss[0] - loss[1]) / 20)
    assert np.isnan(test.loc[0, "bits_per_label"])


def test_the_calibration_error_by_hand():
    history, _ = simulated(0, rounds=1, classes=2, test=4)
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.2, 0.8]])
    history = replace(
        history,
        test_label=np.array([0, 0, 1, 1]),
        test_log_prob=np.log(p)[None],
        test_predicted=p.argmax(axis=1)[None],
    )
    # One point a bin: three right, one wrong at 0.6.
    error = (0.1 + 0.3 + 0.6 + 0.2) / 4
    assert information.detect(history).tables["test"].loc[0, "calibration_error"] == pytest.approx(error)


def test_labels_that_tell_nothing_are_said():
    found = information.detect(with_surprise([3.0] * 8 + [0.01] * 2))
    assert "The 40 labels of rounds 8 and 9 told 0.01 bits each" in found.findings[0].sentence
    assert information.detect(with_surprise([3.0] * 10)).findings == ()
    assert information.detect(with_surprise([3.0] * 8 + [0.01, 3.0])).findings == ()


def test_a_gap_in_the_records_gives_no_gain():
    history, _ = simulated(0)
    found = information.detect(replace(history, **without_records(history, [4])))
    test = found.tables["test"].set_index("round")["bits_per_label"]
    assert 4 not in test.index and np.isnan(test[5]) and np.isfinite(test[6])
