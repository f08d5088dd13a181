from dataclasses import replace

import numpy as np
import pytest
from helpers.labeled_histories import simulated, without_records

from dal.analysis.diagnosis import forgetting
from dal.analysis.diagnosis.history import Trained


def told(rights, p=0.5):
    """A history of two labels, of which the second is bought in round 1, right as given."""
    history, _ = simulated(rounds=len(rights[0]))
    trained = []
    for round in range(len(rights[0])):
        rows = slice(0, 1 + (round > 0))
        right = np.array([rights[0][round], rights[1][round]])[rows]
        values = np.full(len(right), np.log(p))
        label = np.array([2, 3])[rows]
        index = np.array([70, 5])[rows]
        bought = np.array([0, 1])[rows]
        trained.append(Trained(index, label, bought, np.where(right, label, 0), values, values, values * np.nan))
    return replace(history, trained=trained, train_ids={70: "a.png"})


def test_events_by_hand():
    table = forgetting.detect(told([[1, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0]])).tables["points"].set_index("index")
    assert table.loc[70, ["id", "label", "events", "rounds", "kind"]].tolist() == ["a.png", 2, 2, 6, "forgotten"]
    assert table.loc[70, "correctness"] == pytest.approx(4 / 6)
    assert table.loc[5, ["events", "rounds", "kind"]].tolist() == [0, 5, "never learned"]
    assert table.index.tolist() == [5, 70]  # never learned first
    assert table["mean_p"].tolist() == pytest.approx([0.5, 0.5])
    assert not table["recent"].any()


def test_a_round_without_a_record_hides_no_event():
    history = told([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    trained = [record if number != 3 else None for number, record in enumerate(history.trained)]
    table = forgetting.detect(replace(history, trained=trained)).tables["points"].set_index("index")
    assert table["events"].to_dict() == {70: 1, 5: 0}
    assert table.loc[5, "kind"] == "unforgettable"


def test_mean_and_deviation_are_over_the_rounds_since_bought():
    history, _ = simulated(0, rounds=5)
    table = forgetting.detect(history).tables["points"].set_index("index")
    rows = [np.exp(r.log_prob[r.index == 1000 - 50][0]) for r in history.trained if (r.index == 950).any()]
    assert len(rows) == 3  # bought in round 2
    assert table.loc[950, ["mean_p", "sd_p"]].tolist() == pytest.approx([np.mean(rows), np.std(rows)])
    assert table.loc[950, "recent"]


def lost(share, rounds=(8, 9)):
    """A class of 40 test images with this share wrong in some rounds."""
    history, _ = simulated(0)
    predicted = np.tile(history.test_label, (10, 1))
    images = history.of_class(2)[: round(40 * share)]
    for number in rounds:
        predicted[number, images] = 0
    return replace(history, test_predicted=predicted)


def test_a_class_that_ends_worse_is_named():
    found = forgetting.detect(lost(0.5))
    (finding,) = found.findings
    assert finding.classes == (2,)
    assert finding.sentence.startswith("At the end, the model gets 20 of the 40 test images of class 2 wrong")
    row = found.tables["classes"].set_index("class").loc[2]
    assert row["forgetting"] == pytest.approx(0.5)
    assert row["backward_transfer"] == pytest.approx(-0.5)


@pytest.mark.parametrize("case", [lost(0.5, (9,)), lost(0.5, (7, 8)), lost(0.15)], ids=["last", "regained", "few"])
def test_one_bad_round_a_regained_class_and_a_few_images_are_not(case):
    assert forgetting.detect(case).findings == ()


def test_too_few_rounds_are_no_verdict_on_classes():
    history, _ = simulated(0)
    found = forgetting.detect(replace(history, **without_records(history, list(range(5)))))
    assert found.unknown and "cannot be told" in found.quiet
    assert len(found.tables["points"]) == 200
