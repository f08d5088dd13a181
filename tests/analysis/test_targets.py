import itertools
import math

import numpy as np
import pytest
import scipy.stats

from dal.analysis import group_runs, mean_and_interval, reach, read_run, summarize_runs, target_of
from dal.costs.forecast import fit_learning_curve
from dal.costs.prices import PricesConfig


@pytest.fixture
def group_of(synthetic, tmp_path):
    numbers = itertools.count()

    def make(*curves, **options):
        paths = [synthetic.write_run(tmp_path / f"{next(numbers)}", c, seed=s, **options) for s, c in enumerate(curves)]
        return group_runs(map(read_run, paths))[0]

    return make


def test_what_was_reached_is_read_off_the_mean_curve_and_its_band(group_of):
    curves = np.array([[0.50, 0.70, 0.90], [0.52, 0.72, 0.90], [0.48, 0.68, 0.90]])
    found = reach(group_of(*curves.tolist()), 0.68)
    half_width = scipy.stats.t.ppf(0.975, 2) * scipy.stats.sem(curves[:, 0])
    assert found.labels == pytest.approx(19)
    # Along a band as wide at 20 labels as at 10: a hundredth of accuracy is half a label.
    assert found.labels_low == pytest.approx(19 - half_width / 0.02)
    # The band narrows to nothing from 20 labels on, and only there the lower end gets to the target.
    bottom = 0.7 - half_width
    assert found.labels_high == pytest.approx(20 + 10 * (0.68 - bottom) / (0.9 - bottom))
    assert not found.forecast


def test_one_seed_has_no_interval_and_a_band_can_end_below(group_of):
    found = reach(group_of([0.5, 0.7, 0.9]), 0.8)
    assert found.labels == pytest.approx(25)
    assert math.isnan(found.labels_low) and math.isnan(found.labels_high)
    assert reach(group_of([0.5, 0.7, 0.95], [0.5, 0.7, 0.85]), 0.89).labels_high == math.inf


def test_money_along_the_curve_is_what_had_been_paid(group_of):
    prices = PricesConfig(label=1.0, gpu_hour=3600.0)  # rounds cost 1.75, 2.75, 3.75 beside their 10 labels
    found = reach(group_of([0.5, 0.7, 0.9]), 0.8, prices)
    assert found.money == pytest.approx(11.75 + 12.75 + 13.75 / 2)
    assert math.isnan(found.money_low)
    assert math.isnan(reach(group_of([0.5, 0.7, 0.9]), 0.8).money)


def test_what_was_not_reached_is_forecast_and_paid_as_the_last_rounds_were(group_of):
    n = np.arange(1, 9) * 10.0
    accuracy = 0.95 - 1.5 * n**-0.7
    found = reach(group_of(accuracy.tolist()), 0.92, PricesConfig(label=1.0, gpu_hour=3600.0))
    expected = fit_learning_curve(n.tolist(), accuracy.tolist()).labels_to_reach(0.92)
    assert found.forecast
    assert (found.labels, found.labels_low, found.labels_high) == expected
    assert 80 < found.labels_low < found.labels
    spent = 80 + sum(1.75 + i for i in range(8))
    rate = 1 + (1.75 * 3 + 5 + 6 + 7) / 30
    assert found.money == pytest.approx(spent + (found.labels - 80) * rate)
    assert found.money_low == pytest.approx(spent + (found.labels_low - 80) * rate)
    assert found.money_high == (
        math.inf if expected[2] == math.inf else pytest.approx(spent + (expected[2] - 80) * rate)
    )


def test_a_forecast_goes_by_the_mean_of_seeds_and_training_labels(group_of):
    n = np.arange(1, 7) * 20.0
    curves = [(a - 2.0 * n**-0.8).tolist() for a in (0.9, 0.96)]
    labels = (n + 30).astype(int).tolist()  # 30 of them validate
    group = group_of(*curves, labels=labels, extra=lambda i: {"num_labeled": 20 * (i + 1)})
    mean, _ = mean_and_interval(group.accuracy)
    expected = fit_learning_curve(n.tolist(), mean.tolist()).labels_to_reach(0.91)
    found = reach(group, 0.91)
    assert (found.labels, found.labels_low, found.labels_high) == tuple(e + 30 for e in expected)


def test_a_target_beyond_the_curve_is_never_reached(group_of):
    n = np.arange(1, 13) * 10.0
    found = reach(group_of((0.8 - 2 * n**-1.0).tolist()), 0.99, PricesConfig(label=1.0))
    assert (found.labels, found.money, found.forecast) == (math.inf, math.inf, True)


def test_no_forecast_is_below_the_labels_that_did_not_do(group_of):
    # The fitted curve has passed 0.8 before its last, unlucky round.
    found = reach(group_of([0.5, 0.65, 0.72, 0.76, 0.79, 0.799, 0.78]), 0.8)
    assert found.forecast and found.labels_low == 70 <= found.labels <= found.labels_high


def test_two_rounds_are_too_few(group_of):
    found = reach(group_of([0.5, 0.7]), 0.8, PricesConfig(label=1.0))
    assert found.forecast and found.target == 0.8
    assert math.isnan(found.labels) and math.isnan(found.money)


def test_the_target_of_the_campaign_or_another(group_of):
    assert target_of(group_of([0.5])) is None
    group = group_of([0.5, 0.7, 0.9], campaign__target=0.8)
    assert target_of(group) == 0.8
    assert target_of(group_of([0.5], campaign__target=0.8, campaign__target_metric="val_accuracy")) is None
    (own,) = summarize_runs(group.runs).to_dict("records")
    (other,) = summarize_runs(group.runs, target=0.6).to_dict("records")
    assert (own["target"], own["labels_to_target"], own["forecast"]) == (0.8, pytest.approx(25), False)
    assert (other["target"], other["labels_to_target"]) == (0.6, pytest.approx(15))
    (none,) = summarize_runs(group_of([0.5, 0.7]).runs).to_dict("records")
    assert math.isnan(none["target"]) and math.isnan(none["labels_to_target"]) and not none["forecast"]


def test_a_target_of_another_primary_metric(synthetic, tmp_path):
    campaign = {"campaign__target": 0.5, "campaign__target_metric": "test_mean_average_precision"}
    group = group_runs([read_run(synthetic.write_multilabel_run(tmp_path / "run", [0.25, 0.75], **campaign))])[0]
    assert target_of(group) == 0.5 and reach(group, 0.5).labels == pytest.approx(15)
