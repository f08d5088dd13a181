from dataclasses import replace

import numpy as np
import pytest
from helpers.simulated_history import simulated_history
from scipy.special import log_softmax

from dal.analysis.diagnosis.history import NOT_TESTED
from dal.analysis.diagnosis.merge import detect
from dal.analysis.diagnosis.pairs import quantile, rounds_looked_at

TWINS = (3, 8)


def steady(rounds=9, classes=10, recall=0.95):
    return np.full((rounds, classes), recall)


def labels(history, changes):
    """The history with other numbers of new labels: {class: (R,) labels}."""
    table = history.new_labels.copy()
    for number, values in changes.items():
        table[:, number] = values
    return replace(history, new_labels=table)


def row_of(found, pair=TWINS):
    table = found.tables["pairs"]
    return table[(table["class_a"] == pair[0]) & (table["class_b"] == pair[1])].iloc[0]


def test_clean_runs_have_no_pairs_to_merge():
    found = [detect(simulated_history(seed, steady(7, recall=0.85))) for seed in range(6)]
    assert [finding.sentence for one in found for finding in one.findings] == []
    assert found[0].quiet == "No two classes are alike for this network, of 45 pairs that were looked at."


def test_twins_are_found_and_no_other_pair():
    for seed in range(5):
        found = detect(simulated_history(seed, steady(), twins=TWINS))
        assert [finding.classes for finding in found.findings] == [TWINS]
        assert row_of(found)["verdict"] == "merge"


def test_the_sentence_says_what_the_accuracy_would_be():
    history = simulated_history(0, steady(), twins=TWINS)
    finding = detect(history).findings[0]
    label, predicted = history.test_label, history.test_predicted[-1]
    merged = np.mean(np.where(label == 8, 3, label) == np.where(predicted == 8, 3, predicted))
    assert finding.numbers["accuracy_merged"] == pytest.approx(merged)
    assert f"would be {100 * merged:.1f} % in place of {100 * np.mean(label == predicted):.1f} %." in finding.sentence
    assert finding.sentence.startswith("This network does not tell class 3 and class 8 apart (AUC 0.")
    assert f"on 50 and 50 test images; 45 pairs were looked at; since round {finding.round})" in finding.sentence
    assert "it fits its labels otherwise (100 %). Either the images do not differ" in finding.sentence
    assert len(finding.points) == 12
    assert {tuple(sorted((label[place], predicted[place]))) for place in finding.points} == {TWINS}


def test_classes_that_overlap_by_half_are_confused_but_separable():
    history = simulated_history(0, steady(), twins=TWINS)
    logs = history.test_log_prob.copy()
    half = history.of_class(8)[::2]
    logs[:, half, 8] += 8
    logs = log_softmax(logs, axis=2)
    found = detect(replace(history, test_log_prob=logs, test_predicted=logs.argmax(axis=2)))
    assert found.findings == ()
    assert row_of(found)["verdict"] == "confused, but separable"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda h: labels(h, {3: [9, 0, 0, 0, 0, 0, 0, 0, 1]}), "Fewer than 15 labels of one: class 3 with class 8."),
        (
            lambda h: labels(h, {3: [40, 0, 0, 0, 0, 0, 0, 0, 0]}),
            "Not both gained labels in the last 2 rounds: class 3",
        ),
        (lambda h: replace(h, trained=[None] * 9), "It is not recorded whether the network fits the labels"),
    ],
    ids=["labels", "new labels", "no record of the fit"],
)
def test_guards_silence_twins_and_say_so(change, said):
    found = detect(change(simulated_history(0, steady(), twins=TWINS)))
    assert found.findings == ()
    assert len(found.silenced) == 1
    assert found.silenced[0].startswith(said)


def test_a_network_that_does_not_fit_its_labels_is_no_reason_to_merge():
    found = detect(simulated_history(0, steady(), twins=TWINS, fit=0.85))
    assert found.findings == ()
    assert found.silenced == (
        "The network does not fit the labels of the other classes to 95 %: see its capacity: class 3 with class 8.",
    )


def test_a_pair_must_be_alike_in_two_looks():
    history = simulated_history(0, steady(), twins=TWINS)
    apart = simulated_history(0, steady())
    logs = history.test_log_prob.copy()
    logs[:-3] = apart.test_log_prob[:-3]
    found = detect(replace(history, test_log_prob=logs))
    assert found.silenced == ("Not yet so 2 rounds before: class 3 with class 8.",)


def test_a_pair_that_the_last_rounds_tell_apart_is_not_to_merge():
    history = simulated_history(0, steady(13), twins=TWINS)
    logs = history.test_log_prob.copy()
    logs[-3:] = simulated_history(0, steady(13)).test_log_prob[-3:]
    found = detect(replace(history, test_log_prob=logs))
    assert found.findings == ()
    assert row_of(found)["guard"] == "separable"


def test_classes_that_are_exchanged_are_told_apart():
    history = simulated_history(0, steady())
    logs = history.test_log_prob.copy()
    logs[:, :, [3, 8]] = logs[:, :, [8, 3]]
    found = detect(replace(history, test_log_prob=logs))
    assert found.findings == ()
    assert "with the classes exchanged: class 3 with class 8." in " ".join(found.silenced)


def test_few_test_images_cannot_tell():
    found = detect(simulated_history(0, steady(), twins=TWINS, images=6))
    assert found.unknown
    assert found.quiet == "Too few test images to say: at least 10 of both classes are needed."
    images = np.full(10, 50)
    images[3] = 6
    found = detect(simulated_history(0, steady(), twins=TWINS, images=images))
    assert found.findings == ()
    assert found.silenced == ("Fewer than 10 test images of one: class 3 with class 8.",)
    assert "Of 9 of them, one class has fewer than 10 test images" in found.quiet


@pytest.mark.parametrize(
    ("history", "said"),
    [
        (simulated_history(images=0), "Without predictions of a test set"),
        (simulated_history(recall=steady(5, 2)), "With two classes"),
        (simulated_history(recall=steady(1)), "1 round with test predictions cannot show"),
        (simulated_history(recall=steady(5, 3), probabilities=False), "No two classes have test images with prob"),
    ],
    ids=["no test set", "two classes", "one round", "no probabilities"],
)
def test_what_cannot_be_told_is_said(history, said):
    found = detect(history)
    assert found.unknown
    assert found.quiet.startswith(said)


def test_rounds_without_records_are_left_out():
    history = simulated_history(0, steady(12), twins=TWINS)
    predicted, logs = history.test_predicted.copy(), history.test_log_prob.copy()
    predicted[[4, 9]], logs[[4, 9]] = NOT_TESTED, np.nan
    history = replace(history, test_predicted=predicted, test_log_prob=logs)
    assert rounds_looked_at(history) == [1, 3, 6, 8, 11]
    assert [finding.classes for finding in detect(history).findings] == [TWINS]


def test_test_points_of_some_rounds_are_averaged_over_those():
    history = simulated_history(0, steady(), twins=TWINS)
    predicted, logs = history.test_predicted.copy(), history.test_log_prob.copy()
    predicted[:7, ::2], logs[:7, ::2] = NOT_TESTED, np.nan
    found = detect(replace(history, test_predicted=predicted, test_log_prob=logs))
    assert row_of(found)["tested_a"] == 50
    assert [finding.classes for finding in found.findings] == [TWINS]


def test_with_many_classes_the_most_probable_five_are_enough():
    history = simulated_history(0, steady(7, 40), twins=TWINS, images=50, query=200)
    full = detect(history)
    logs = history.test_log_prob.copy()
    fifth = np.sort(logs, axis=2)[:, :, -5:-4]
    own = np.arange(40) == history.test_label[:, None]
    logs[(logs < fifth) & ~own] = np.nan
    found = detect(replace(history, test_log_prob=logs.astype(np.float16).astype(np.float64)))
    assert "(those with a confusion, of 780)" in found.method
    assert [finding.classes for finding in found.findings] == [TWINS]
    assert row_of(found)["auc"] == pytest.approx(row_of(full)["auc"], abs=0.02)


def test_the_level_is_shared_by_all_pairs():
    assert quantile(10) == pytest.approx(3.06, abs=0.005)
    assert quantile(2) == pytest.approx(1.645, abs=0.001)


def test_curves_are_of_the_pairs_that_are_the_least_apart():
    found = detect(simulated_history(0, steady(), twins=TWINS))
    curves = found.tables["pair_curves"]
    first = curves[(curves["class_a"] == 3) & (curves["class_b"] == 8)]
    assert first["round"].tolist() == [0, 2, 4, 6, 8]
    assert ((first["low"] <= first["auc"]) & (first["auc"] <= first["high"])).all()
    assert len(curves.groupby(["class_a", "class_b"])) == 12
