"""Orders of the same labels, and what their accuracies allow to say."""

import numpy as np
import pytest
from scipy import stats

from dal.analysis import label_order
from dal.analysis.label_order import ORDERS, effects, p_of_equivalence, permutation, verdict

LABELS = np.array([2, 0, 1, 2, 0])
EASE = np.array([0.2, 0.9, 0.5, 0.5, 0.1])


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("acquired", [0, 1, 2, 3, 4]),
        ("at_once", [0, 1, 2, 3, 4]),
        ("reversed", [4, 3, 2, 1, 0]),
        ("easy_first", [1, 2, 3, 0, 4]),
        ("hard_first", [4, 0, 2, 3, 1]),
        ("by_class", [1, 4, 2, 0, 3]),
    ],
)
def test_orders(order, expected):
    assert permutation(order, LABELS, EASE, seed=0).tolist() == expected


def test_random_order_has_each_label_once_and_depends_on_the_seed():
    found = [permutation("random", np.zeros(50, dtype=int), None, seed).tolist() for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert sorted(found[2]) == list(range(50))


def test_equivalence_is_two_one_sided_tests():
    differences = np.random.default_rng(0).normal(0.001, 0.002, 12)
    above = stats.ttest_1samp(differences, -0.005, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, 0.005, alternative="less").pvalue
    assert p_of_equivalence(differences, 0.005) == pytest.approx(max(above, below))


def curves(shift, spread, seeds=10, seed=0):
    generator = np.random.default_rng(seed)
    base = 0.9 + generator.normal(0, 0.01, (seeds, 4))
    return {
        order: (base + shift.get(order, 0) + generator.normal(0, spread, (seeds, 4)))[
            :, -1 if order == "at_once" else 0 :
        ]
        for order in ORDERS
    }


def test_orders_without_effect_are_equivalent():
    found = effects(curves({}, 0.001))
    assert all(one.is_equivalent for one in found if one.order != "random")
    assert verdict(found, 10).startswith("The order made no difference larger than 0.5 points")


def test_an_order_that_harms_is_named_alone():
    found = effects(curves({"by_class": -0.03}, 0.002))
    assert [one.order for one in found if one.differs] == ["by_class"]
    assert "class by class -2.89" in verdict(found, 10)


def test_noise_excludes_nothing():
    sentence = verdict(effects(curves({}, 0.02)), 10)
    assert sentence.startswith("No order differs") and "not excluded" in sentence


def test_false_claims_are_rare():
    claims = sum(any(one.differs for one in effects(curves({}, 0.004, seed=seed))) for seed in range(60))
    assert claims <= 6


def test_few_seeds_say_nothing():
    found = effects(curves({"by_class": -0.5}, 0.001, seeds=4))
    assert verdict(found, 4) == "Whether the order matters cannot be told from 4 seeds: at least 5 are needed."


def test_two_seeds_have_no_interval_and_no_p_value():
    for seeds, is_known in ((2, False), (3, True)):
        found = [one for one in effects(curves({}, 0.002, seeds=seeds)) if one.order != "random"]
        assert all(np.isfinite([one.half_width, one.p]).all() == is_known for one in found)
        assert all(("±" in label_order.difference_of(one)) == is_known for one in found)


def test_the_difference_is_paired():
    made = curves({}, 0.004)
    found = next(one for one in effects(made) if one.order == "acquired")
    differences = made["acquired"][:, -1] - made["random"][:, -1]
    assert found.difference == pytest.approx(differences.mean())
    half = stats.t.ppf(0.975, 9) * differences.std(ddof=1) / np.sqrt(10)
    assert found.half_width == pytest.approx(half)
    assert label_order.MARGIN == 0.005
