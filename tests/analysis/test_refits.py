"""What a training with one change shows, from canned predictions."""

from dataclasses import replace

import numpy as np
import pytest

from dal.analysis.refits import left_out, refit_effect, refit_effects, verdict
from dal.analysis.statistics.paired_tests import holm
from dal.runs.refits import CLASS, DEPTH, ROUND, UNCHANGED, WIDTH, Arm, Basis, Training

TRUTH = np.arange(120) % 3
BASIS = Basis("key", 40, ["cat", "dog", "truck"], TRUTH.tolist(), [0, 1, 2, 0, 1, 2] * 5, [0] * 20 + [1] * 10)


def predictions(wrong, truth):
    """The right classes but for the first ``wrong`` of each class."""
    found = np.array(truth)
    for number in range(3):
        found[np.flatnonzero(found == number)[: wrong[number]]] = -1
    return found.tolist()


def arm(kind, value=0.0, wrong=(0, 0, 0), labeled=(0, 0, 0), seeds=3):
    def training(seed):
        return Training(predictions([max(w - seed % 2, 0) for w in wrong], TRUTH), predictions(labeled, BASIS.label))

    return Arm(kind, value, BASIS, {seed: training(seed) for seed in range(seeds)})


BASE = arm(UNCHANGED, wrong=(20, 1, 1), labeled=(9, 9, 9))


def test_a_wider_network_that_is_better_proves_that_it_is_too_narrow():
    effect = refit_effect(BASE, arm(WIDTH, 2))
    assert effect.test.before == pytest.approx(1 - (22 + 19 + 22) / 360) and effect.test.after == 1
    said = verdict(effect)
    assert said.startswith(
        "With 2 times the width, test accuracy is 17.5 points higher: 100 % in place of 82.5 % (95 %"
    )
    assert "3 trainings each, 40 updates, 120 test points)" in said
    assert "Of the 30 labels, the changed network predicts 100 %, and the unchanged one 10 %." in said
    assert "Recall changes for cat (+49.2 points, p = 0.000006), with Holm's correction over 3 classes." in said
    assert said.endswith("The network of the run is too narrow for these labels and updates.")
    assert [one.number for one in effect.changed_classes] == [0]
    assert [one.p for one in effect.classes] == pytest.approx(holm([one.recall.p for one in effect.classes]))
    fits = replace(BASE, trainings={s: replace(t, labeled=BASIS.label) for s, t in BASE.trainings.items()})
    assert verdict(refit_effect(fits, arm(WIDTH, 2))).endswith(
        "A wider network is better with these labels and updates."
    )


def test_no_difference_is_said_with_its_interval():
    effect = refit_effect(BASE, arm(WIDTH, 2, wrong=(20, 1, 1), labeled=(9, 9, 9)))
    said = verdict(effect)
    assert f"shows no difference, and one larger than {100 * effect.test.most:.1f} points is unlikely: 82.5 %" in said
    assert "No recall of a class differs (Holm over 3 classes)." in said
    assert said.endswith("More width does not help with these labels and updates.")
    same = verdict(refit_effect(BASE, arm(DEPTH, 3, wrong=(20, 1, 1))))
    assert same.startswith("With depth 3,") and same.endswith("the two networks are not told apart.")
    worse = verdict(refit_effect(arm(UNCHANGED), arm(DEPTH, 3, wrong=(30, 9, 9))))
    assert worse.endswith("The changed network is worse with these labels and updates.")


def test_labels_that_are_left_out_harm_or_help():
    helped = refit_effect(arm(UNCHANGED), arm(ROUND, 1, wrong=(20, 20, 20)))
    assert verdict(helped).startswith("Without the 10 labels of round 1, test accuracy is 49.2 points lower")
    assert verdict(helped).endswith("These labels help.") and helped.labeled.points == 20
    harmed = refit_effect(BASE, arm(ROUND, 1))
    assert verdict(harmed).endswith("These labels do harm.")
    # The class itself is not tested: no model can predict it without labels.
    without = refit_effect(arm(UNCHANGED), arm(CLASS, 0, wrong=(40, 0, 0)))
    assert without.test.points == 80 and without.test.difference == 0 and without.labels_out == 10
    assert [one.number for one in without.classes] == [1, 2]
    assert verdict(without).startswith("Without the 10 labels of cat, test accuracy on the other classes shows no diff")
    assert left_out(arm(CLASS, 2)).tolist() == [label == 2 for label in BASIS.label]


def test_holm_covers_all_changes_and_single_trainings_do_not_count():
    arms = [BASE, arm(WIDTH, 2), arm(ROUND, 1, wrong=(17, 1, 1)), arm(DEPTH, 3, seeds=1)]
    effects = refit_effects(arms)
    assert [effect.arm.kind for effect in effects] == [WIDTH, ROUND]
    assert [effect.p for effect in effects] == pytest.approx(holm([effect.test.p for effect in effects]))
    assert "after Holm over 2 changes" in verdict(effects[1])
    assert refit_effect(BASE, replace(arm(WIDTH, 2), basis=replace(BASIS, key="other"))) is None


def test_classes_that_trainings_lose_at_random_are_seldom_called_changed():
    generator = np.random.default_rng(2)
    basis = replace(BASIS, classes=list("abcdefghij"), test_label=[number for number in range(10) for _ in range(30)])

    def losing():
        lost = generator.random((3, 10)) < 0.5
        tests = [[-1 if one[number] else number for number in basis.test_label] for one in lost]
        return {seed: Training(test, BASIS.label) for seed, test in enumerate(tests)}

    called = 0
    for _ in range(40):
        effect = refit_effect(Arm(UNCHANGED, 0, basis, losing()), Arm(ROUND, 1, basis, losing()))
        called += bool(effect.changed_classes)
    assert called <= 3
