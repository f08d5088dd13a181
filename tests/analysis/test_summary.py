import itertools
import json

import numpy as np
import pytest
import scipy.stats

from dal.analysis import read_run, summarize_runs
from dal.costs.prices import PricesConfig


@pytest.fixture
def make(synthetic, tmp_path):
    numbers = itertools.count()
    return lambda accuracies, **options: read_run(
        synthetic.write_run(tmp_path / f"{next(numbers)}", accuracies, **options)
    )


def test_one_run_by_hand(make):
    (line,) = summarize_runs([make([0.4, 0.6, 0.7], labels=[10, 20, 50])]).to_dict("records")
    assert (line["data"], line["acquisition"], line["settings"], line["note"]) == ("digits", "margin", "", "")
    assert (line["seeds"], line["rounds"], line["labels"], line["pairs"]) == (1, 3, 50, 0)
    assert line["test_accuracy"] == 0.7
    assert line["area"] == pytest.approx((10 * 0.5 + 30 * 0.65) / 40)
    for column in ("test_accuracy_interval", "area_interval", "area_minus_random", "area_minus_random_interval"):
        assert np.isnan(line[column]), column
    assert line["seconds_train"] == 1 + 2 + 3
    assert line["seconds_score_select"] == 3 * 0.75
    assert line["seconds_total"] == 6 + 3 * 0.875
    assert line["updates"] == 100 + 101 + 102


def test_difference_to_random_is_paired_by_seed(make):
    # by seed margin is 0.1, 0.2, 0.3 better, while seeds differ by far more; given in another order
    base = {0: 0.1, 1: 0.6, 2: 0.3}
    runs = [make([v + 0.1 * (s + 1)] * 2, seed=s) for s, v in base.items()]
    runs += [make([v, v], seed=s, acquisition="random") for s, v in reversed(base.items())]
    table = summarize_runs(runs).set_index("acquisition")
    line = table.loc["margin"]
    assert line["area_minus_random"] == pytest.approx(0.2)
    assert line["area_minus_random_interval"] == pytest.approx(scipy.stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3))
    assert (line["pairs"], line["note"]) == (3, "")
    assert np.isnan(table.loc["random", "area_minus_random"])
    areas = [v + 0.1 * (s + 1) for s, v in base.items()]
    assert line["area_interval"] == pytest.approx(scipy.stats.t.ppf(0.975, 2) * scipy.stats.sem(areas))


def test_only_shared_seeds_and_rounds_are_compared_with_random_and_it_is_said(make):
    runs = [make([0.5, 0.5, 0.9], seed=s) for s in (0, 1)]
    runs += [make([0.4, 0.4], seed=s, acquisition="random", stopped=None) for s in (1, 2)]
    line = summarize_runs(runs).set_index("acquisition").loc["margin"]
    assert line["area_minus_random"] == pytest.approx(0.1)
    assert np.isnan(line["area_minus_random_interval"])
    assert line["pairs"] == 1
    assert line["note"] == "difference to random: 1 of 2 seeds, up to 20 labels"
    assert line["labels"] == 30


def test_random_with_other_settings_or_other_data_or_other_seeds_is_no_baseline(make):
    margin = make([0.5, 0.6])
    for change in ({"campaign__query_size": 20}, {"data": "cifar10"}, {"seed": 7}, {"fingerprint": "bbbb"}):
        table = summarize_runs([margin, make([0.4, 0.5], **{"acquisition": "random", **change})])
        line = table.set_index("acquisition").loc["margin"]
        assert np.isnan(line["area_minus_random"]), change
        assert line["pairs"] == 0
    assert (
        "no seed in common"
        in summarize_runs([margin, make([0.4, 0.5], acquisition="random", seed=7)])["note"].str.cat()
    )


def test_parameters_of_the_function_do_not_hide_its_baseline(make):
    runs = [make([0.5, 0.6], acquisition="bald", acquisition__num_draws=20), make([0.4, 0.5], acquisition="random")]
    assert summarize_runs(runs)["area_minus_random"].max() == pytest.approx(0.1)


def test_two_query_sizes_are_two_lines_each_with_its_own_random(make):
    runs = [
        make([a + 0.1 * (q == 20) * (name == "margin")] * 2, acquisition=name, campaign__query_size=q)
        for name, a in (("margin", 0.5), ("random", 0.4))
        for q in (10, 20)
    ]
    table = summarize_runs(runs)
    assert len(table) == 4
    differences = table[table["acquisition"] == "margin"].set_index("settings")["area_minus_random"]
    assert differences.to_dict() == pytest.approx({"query_size=10": 0.1, "query_size=20": 0.2})


def test_costs_and_accuracy_of_a_cut_group_are_those_of_the_rounds_compared(make):
    runs = [make([0.5, 0.6, 0.9], seed=0), make([0.5, 0.7], seed=1, stopped=None)]
    (line,) = summarize_runs(runs).to_dict("records")
    assert (line["labels"], line["rounds"]) == (20, 2)
    assert line["test_accuracy"] == pytest.approx(0.65)
    assert line["updates"] == 100 + 101
    assert line["seconds_train"] == 1 + 2
    assert line["note"].startswith("compared up to 20 of 30 labels")


def test_one_round_has_an_accuracy_but_no_area(make):
    (line,) = summarize_runs([make([0.5], seed=0), make([0.7], seed=1)]).to_dict("records")
    assert line["test_accuracy"] == pytest.approx(0.6)
    assert np.isnan(line["area"])


def test_the_final_model_of_a_proxy_is_paid_for(make, synthetic):
    prices = PricesConfig(label=0.1, gpu_hour=3.6)
    runs = [make([0.4, 0.6], seed=seed, extra=synthetic.flops_of) for seed in (0, 1)]
    (plain,) = summarize_runs(runs, prices).to_dict("records")
    assert plain["final_backbone"] is None and np.isnan(plain["final_test_accuracy"])
    for run, scale in zip(runs, (1, 3), strict=True):
        row = {
            "backbone": "resnet18_cifar",
            "num_labeled": 20,
            "test_accuracy": 0.8 + 0.05 * scale,
            "updates": 40 * scale,
        }
        row |= {"seconds_train": 10.0 * scale, "seconds_test": 2.0, "flops_forward_test": 70}
        row |= {"flops_forward_train": 1000 * scale, "flops_backward_train": 2000 * scale, "labels_bought": 20}
        (run.path / "final_model.json").write_text(json.dumps(row))
    (line,) = summarize_runs([read_run(run.path) for run in runs], prices).to_dict("records")
    assert line["final_backbone"] == "resnet18_cifar" and line["final_test_accuracy"] == pytest.approx(0.9)
    more = {"updates": 80, "flops_train": 6000, "flops_total": 6000, "flops_test": 70, "flops_score": 0}
    more |= {"seconds_train": 20, "seconds_method": 20, "seconds_total": 22, "money_total": 0.02}
    assert {key: line[key] - plain[key] for key in more} == pytest.approx(more, abs=1e-9)
    assert line["test_accuracy"] == plain["test_accuracy"] and line["area"] == plain["area"]
    assert line["note"].startswith("the final model resnet18_cifar ended at 90.0%")
    # One of them is not there yet: nothing is said of half of them.
    (runs[1].path / "final_model.json").unlink()
    (half,) = summarize_runs([read_run(run.path) for run in runs], prices).to_dict("records")
    assert half["final_backbone"] is None and half["updates"] == plain["updates"]
