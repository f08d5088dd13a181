from dataclasses import replace

import numpy as np
import pytest
from helpers.simulated_history import recall_curves, simulated_history

from dal.analysis.diagnosis.history import NOT_TESTED
from dal.analysis.diagnosis.learned import detect


def steady(rounds=15, classes=10, recall=0.96):
    return np.full((rounds, classes), recall)


def falling(number=2, start=7, end=None, to=0.5, **shape):
    recall = steady(**shape)
    recall[start:end, number] = to
    return recall


def canned(right, classes=1):
    """A history whose test points of class 0 are right as in ``right`` (R, n), and whose other classes always are."""
    right = np.asarray(right, dtype=bool)
    rounds, images = right.shape
    history = simulated_history(recall=steady(rounds, max(classes, 2)), images=images, probabilities=False)
    predicted = np.tile(history.test_label, (rounds, 1))
    predicted[:, :images] = np.where(right, 0, 1)
    return replace(history, test_predicted=predicted)


def events(found, number=0):
    table = found.tables["changes"]
    return [(row.event, row.round) for row in table[table["class"] == number].itertuples()]


def test_growing_runs_raise_no_alarm():
    found = [detect(simulated_history(seed, probabilities=False)) for seed in range(25)]
    assert [finding.sentence for one in found for finding in one.findings] == []
    assert not any(one.unknown for one in found)


def test_test_points_that_change_at_random_in_each_round_raise_no_alarm():
    generator = np.random.default_rng(0)
    for _ in range(15):
        right = generator.random((15, 50)) < 0.9
        assert detect(canned(right, classes=10)).findings == ()


def test_a_lost_class_is_found_in_time_and_no_other_one():
    delays = []
    for seed in range(20):
        recall = recall_curves(np.random.default_rng(seed), end=0.99)
        recall[9:, 4] = 0.55
        found = detect(simulated_history(seed, recall, probabilities=False))
        assert all(finding.classes == (4,) for finding in found.findings)
        delays += [finding.round - 9 for finding in found.findings]
    assert len(delays) >= 19
    assert max(delays) <= 2


def test_a_class_is_learned_at_the_first_of_two_rounds_in_a_row_with_45_of_50():
    counts = [30, 45, 44, 45, 46, 50]
    right = np.arange(50) < np.array(counts)[:, None]
    found = detect(canned(right))
    assert events(found) == [("learned", 3)]
    table = found.tables["classes"]
    assert table.loc[table["class"] == 0, "state"].tolist() == ["not learned"] * 3 + ["learned"] * 3
    assert table.loc[table["class"] == 0, "right"].tolist() == counts
    assert "45 of 50 test images" in found.method


def test_the_sentence_says_what_was_seen_of_how_many():
    right = np.ones((8, 50), dtype=bool)
    right[5:, :17] = False
    found = detect(canned(right, classes=10))
    assert len(found.findings) == 1
    assert found.findings[0].sentence == (
        "In round 5 the model got 17 of the 50 test images of class 0 wrong that it had had right in most of the "
        "rounds before, and none the other way (p = 0.000008; 70 were looked at). Round 6 confirmed it. Retraining on "
        "the same labels may give another picture."
    )
    assert found.findings[0].numbers == {"losses": 17, "gains": 0, "compared": 50, "p": 0.5**17, "looks": 70}
    assert found.findings[0].points == tuple(range(12))


def test_a_fall_of_one_round_is_no_loss():
    right = np.ones((10, 50), dtype=bool)
    right[5, :20] = False
    assert events(detect(canned(right))) == [("learned", 0)]


def test_a_fall_in_the_last_round_waits_for_the_next():
    right = np.ones((10, 50), dtype=bool)
    right[9, :20] = False
    found = detect(canned(right))
    assert found.findings == ()
    assert found.silenced == (
        "class 0: round 9, the last, got 20 of 50 test images wrong that were right before, and 0 the other way "
        "(p < 0.000001); a second round must confirm it.",
    )


def test_a_class_is_regained_when_it_is_as_good_as_before():
    right = np.ones((12, 50), dtype=bool)
    right[4:7, :20] = False
    found = detect(canned(right))
    assert events(found) == [("learned", 0), ("lost", 4), ("regained", 7)]
    assert "Round 7 had learned it again." in found.findings[0].sentence
    states = found.tables["classes"].query("`class` == 0")["state"].tolist()
    assert states == ["learned"] * 4 + ["lost"] * 3 + ["learned"] * 5


def test_a_class_that_stays_below_what_it_was_is_not_regained_although_its_recall_is_high():
    right = np.ones((12, 1000), dtype=bool)
    right[4:, :80] = False  # 92 %
    assert events(detect(canned(right))) == [("learned", 0), ("lost", 4)]


def test_many_images_make_no_loss_of_a_small_drop():
    right = np.ones((12, 1000), dtype=bool)
    right[4:, :40] = False
    assert events(detect(canned(right))) == [("learned", 0)]


def test_a_class_can_be_lost_twice():
    right = np.ones((16, 50), dtype=bool)
    right[4:7, :20] = False
    right[12:, :20] = False
    assert events(detect(canned(right))) == [("learned", 0), ("lost", 4), ("regained", 7), ("lost", 12)]


def test_few_test_images_cannot_tell():
    found = detect(simulated_history(recall=falling(classes=10), images=8))
    assert found.unknown
    assert found.findings == ()
    assert found.quiet == "Too few test images to say: at least 12 of a class are needed, and no class has more than 8."
    assert len(found.silenced) == 10


def test_a_single_class_with_few_test_images_is_named():
    images = np.full(10, 50)
    images[3] = 7
    found = detect(simulated_history(recall=steady(), images=images))
    assert not found.unknown
    assert found.silenced == ("class 3: too few test images to say (7 test images; at least 12 are needed).",)
    assert found.quiet == (
        "No class was lost, of the 9 that can be judged. With 50 test images of a class, losses below 24 % of them "
        "cannot be seen."
    )


def test_a_class_without_test_points_is_not_looked_at():
    images = np.full(10, 50)
    images[3] = 0
    found = detect(simulated_history(recall=steady(), images=images))
    assert sorted(set(found.tables["classes"]["class"])) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert "/ 126," in found.method


def test_without_a_test_set_nothing_can_be_told():
    found = detect(simulated_history(images=0))
    assert found.unknown
    assert "Without predictions of a test set" in found.quiet


@pytest.mark.parametrize(("rounds", "said"), [(1, "1 round with test predictions is"), (3, "3 rounds")])
def test_a_short_run_cannot_lose_a_class(rounds, said):
    found = detect(simulated_history(recall=steady(rounds)))
    assert found.unknown
    assert found.quiet.startswith(said)
    assert len(found.tables["classes"]) == 10 * rounds


def test_rounds_without_records_are_left_out():
    history = simulated_history(recall=falling(start=8))
    predicted = history.test_predicted.copy()
    predicted[[2, 5, 9]] = NOT_TESTED
    found = detect(replace(history, test_predicted=predicted))
    assert [(finding.classes, finding.round) for finding in found.findings] == [((2,), 8)]
    assert "Round 10 confirmed it." in found.findings[0].sentence
    assert not found.tables["classes"]["round"].isin([2, 5, 9]).any()


def test_a_class_that_is_added_midway_is_learned_later():
    history = simulated_history(recall=steady())
    predicted = history.test_predicted.copy()
    predicted[:6, history.of_class(9)] = NOT_TESTED
    found = detect(replace(history, test_predicted=predicted))
    assert events(found, 9) == [("learned", 6)]
    assert found.tables["classes"].query("`class` == 9")["state"].tolist() == ["untested"] * 6 + ["learned"] * 9


def test_a_growing_test_set_compares_the_images_that_both_tested():
    history = simulated_history(recall=falling(start=9, classes=3), images=100)
    predicted = history.test_predicted.copy()
    # Half the images are bought in round 8, a round before the loss.
    predicted[:8, ::2] = NOT_TESTED
    found = detect(replace(history, test_predicted=predicted))
    assert [(finding.classes, finding.round) for finding in found.findings] == [((2,), 9)]
    # An image without an earlier test has no reference.
    predicted[:9, ::2] = NOT_TESTED
    found = detect(replace(history, test_predicted=predicted))
    assert found.findings[0].numbers["compared"] <= 50


@pytest.mark.parametrize("classes", [2, 100])
def test_few_and_many_classes_are_followed(classes):
    recall = falling(number=1, start=4, rounds=7, classes=classes, to=0.05)
    found = detect(simulated_history(recall=recall, images=25, probabilities=False))
    assert [finding.classes for finding in found.findings] == [(1,)]
