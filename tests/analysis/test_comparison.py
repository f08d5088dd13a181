"""The tables of a comparison against slow loops over the runs, and by hand."""

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from dal.analysis import labels_to_reach, read_run
from dal.analysis.comparison import areas_of, compare_problems, function_table, pair_table
from dal.analysis.efficiency import efficiency_table, first_crossings
from dal.analysis.pairing import pair_runs
from dal.analysis.penalty import column_means, penalty_matrix, wins
from dal.errors import DalError

LABELS = [10, 20, 40, 80]


@pytest.fixture
def problem_of(synthetic, tmp_path):
    numbers = itertools.count()

    def build(curves, labels=None, data="digits"):
        """``curves``: {function: (S, T) accuracies}."""
        runs = [
            read_run(
                synthetic.write_paired_run(
                    tmp_path / f"{next(numbers)}", list(row), labels=labels, acquisition=name, seed=seed, data=data
                )
            )
            for name, rows in curves.items()
            for seed, row in enumerate(rows)
        ]
        (problem,) = pair_runs(runs)
        return problem

    return build


@pytest.fixture
def noisy(problem_of):
    rng = np.random.default_rng(0)
    start = rng.normal(0.5, 0.02, (5, 1))
    curves = {
        name: np.hstack([start, rng.normal(0.7 + gain + np.array([0, 0.05, 0.1]), 0.02, (5, 3))]).round(4)
        for name, gain in (("random", 0.0), ("margin", 0.05), ("badge", 0.04), ("bald", -0.05))
    }
    return problem_of(curves, LABELS), curves


def test_areas_by_hand_over_labels_and_their_logarithm(problem_of):
    problem = problem_of({"random": [[0.4, 0.6, 0.8]], "margin": [[0.4, 0.8, 0.8]]}, labels=[10, 20, 40])
    (line,) = function_table(problem, "random").query("function == 'margin'").to_dict("records")
    # (10 * 0.6 + 20 * 0.8) / 30; two doublings: (0.6 + 0.8) / 2
    assert line["area"] == pytest.approx(22 / 30)
    assert line["log_area"] == pytest.approx(0.7)
    # random: (10 * 0.5 + 20 * 0.7) / 30
    assert line["difference"] == pytest.approx(22 / 30 - 19 / 30)
    assert (line["accuracy"], line["seeds"], line["first_labels"], line["last_labels"]) == (0.8, 1, 10, 40)
    assert all(math.isnan(line[k]) for k in ("area_interval", "area_low", "difference_interval", "p_value", "p_holm"))


def test_function_table_against_loops(noisy):
    problem, curves = noisy
    table = function_table(problem, "random").set_index("function")
    areas = {n: [scipy.integrate.trapezoid(row, LABELS) / 70 for row in rows] for n, rows in curves.items()}
    assert list(table.index) == sorted(areas, key=lambda name: -np.mean(areas[name]))
    p_values = {n: scipy.stats.ttest_rel(areas[n], areas["random"]).pvalue for n in areas if n != "random"}
    for name in curves:
        line, values = table.loc[name], np.array(areas[name])
        assert line["area"] == pytest.approx(values.mean())
        half = scipy.stats.t.ppf(0.975, 4) * scipy.stats.sem(values)
        assert line["area_interval"] == pytest.approx(half)
        assert values.min() <= line["area_low"] < line["area"] < line["area_high"] <= values.max()
        logs = [scipy.integrate.trapezoid(row, np.log2(LABELS)) / 3 for row in curves[name]]
        assert line["log_area"] == pytest.approx(np.mean(logs))
        if name == "random":
            assert math.isnan(line["p_value"]) and math.isnan(line["p_holm"])
            continue
        expected = scipy.stats.ttest_rel(areas[name], areas["random"]).confidence_interval()
        assert line["difference"] - line["difference_interval"] == pytest.approx(expected.low)
        assert line["p_value"] == pytest.approx(p_values[name])
    order = sorted(p_values, key=p_values.get)
    assert table.loc[order[0], "p_holm"] == pytest.approx(3 * p_values[order[0]])


def test_pair_table_against_loops(noisy):
    problem, curves = noisy
    table = pair_table(problem)
    assert len(table) == 6
    for _, line in table.iterrows():
        one, other = curves[line["function"]], curves[line["other"]]
        apart = [scipy.integrate.trapezoid(a - b, LABELS) / 70 for a, b in zip(one, other, strict=True)]
        assert line["difference"] == pytest.approx(np.mean(apart)) and line["difference"] >= 0
        assert line["p_value"] == pytest.approx(scipy.stats.ttest_1samp(apart, 0).pvalue)
        assert (line["seeds_won"], line["seeds_lost"]) == (sum(a > 0 for a in apart), sum(a < 0 for a in apart))
        won = lost = 0
        for t in (1, 2, 3):
            test = scipy.stats.ttest_rel(one[:, t], other[:, t])
            won += test.pvalue < 0.05 and test.statistic > 0
            lost += test.pvalue < 0.05 and test.statistic < 0
        assert (line["counts_won"], line["counts_tied"], line["counts_lost"]) == (won, 3 - won - lost, lost)
    assert table["p_holm"].min() == pytest.approx(6 * table["p_value"].min())
    assert table["counts_won"].sum() > 0


def test_pairs_that_are_equal_are_ties(problem_of):
    rows = [[0.5, 0.7], [0.4, 0.6]]
    (line,) = pair_table(problem_of({"random": rows, "margin": rows})).to_dict("records")
    assert (line["seeds_won"], line["seeds_tied"], line["seeds_lost"]) == (0, 2, 0)
    assert (line["difference"], line["p_value"], line["counts_tied"]) == (0, 1, 1)


def test_penalty_matrix_by_hand_over_two_data_sets(problem_of):
    # Constant differences are certain: margin beats random at 2 of 3 counts here, and at the only one there, where
    # random beats bald. The initial set does not count.
    here = {
        "random": [[0.9, 0.5, 0.6, 0.7], [0.8, 0.4, 0.5, 0.6]],
        "margin": [[0.9, 0.6, 0.7, 0.7], [0.8, 0.5, 0.6, 0.6]],
        "bald": [[0.9, 0.5, 0.6, 0.7], [0.8, 0.4, 0.5, 0.6]],
    }
    there = {"random": [[0.5, 0.6], [0.5, 0.7]], "margin": [[0.5, 0.7], [0.5, 0.8]], "bald": [[0.5, 0.5], [0.5, 0.6]]}
    problems = [problem_of(here), problem_of(there, data="cifar10")]
    table = penalty_matrix(problems)
    assert table.index[0] == "margin" and list(table.index) == list(table.columns)
    assert table.loc["margin", "random"] == pytest.approx(2 / 3 + 1)
    assert table.loc["margin", "bald"] == pytest.approx(2 / 3 + 1)
    assert table.loc["random", "bald"] == 1
    assert table.to_numpy().sum() == pytest.approx(2 * (2 / 3 + 1) + 1)
    assert column_means(table)["bald"] == pytest.approx((2 / 3 + 2) / 3)
    assert column_means(table)["margin"] == 0


def test_label_counts_that_were_interpolated_decide_nothing(problem_of, synthetic, tmp_path):
    runs = []
    for seed in range(2):
        for name, labels, row in (
            ("random", [10, 20, 40], [0.5, 0.5, 0.5 + seed / 10]),
            ("margin", [10, 30, 40], [0.5, 0.9, 0.9 + seed / 10]),
        ):
            path = tmp_path / f"mixed-{name}-{seed}"
            options = {"labels": labels, "acquisition": name, "seed": seed}
            runs.append(read_run(synthetic.write_paired_run(path, row, **options)))
    (problem,) = pair_runs(runs)
    matrix, count = wins(problem)
    assert count == 1 and problem.names == ("margin", "random") and matrix.tolist() == [[0, 1], [0, 0]]


def test_one_seed_beats_nobody(problem_of):
    matrix, _ = wins(problem_of({"random": [[0.5, 0.6]], "margin": [[0.5, 0.9]]}))
    assert not matrix.any()


def test_crossings_are_those_of_single_curves():
    rng = np.random.default_rng(1)
    x, curves = np.array([10, 25, 40, 100, 101]), rng.random((200, 5))
    for target in (0.1, 0.5, 0.95):
        found = first_crossings(x, curves, target)
        expected = [labels_to_reach(x, curve, target) for curve in curves]
        np.testing.assert_allclose(found, [math.inf if n is None else n for n in expected], rtol=1e-12)
    with pytest.raises(DalError, match=r"^curves: expected shape \(R, 5\), got \(200, 4\)\.$"):
        first_crossings(x, curves[:, :4], 0.5)


def test_crossings_of_curves_with_labels_of_their_own_are_those_of_single_curves():
    rng = np.random.default_rng(2)
    x, curves = rng.random((200, 5)).cumsum(axis=1), rng.random((200, 5))
    found = first_crossings(x, curves, 0.7)
    expected = [labels_to_reach(*one, 0.7) for one in zip(x, curves, strict=True)]
    np.testing.assert_allclose(found, [math.inf if n is None else n for n in expected], rtol=1e-12)


def test_label_efficiency_by_hand(problem_of):
    # To 0.8 random needs 80; margin, from 0.7 at 20 to 0.9 at 40, needs 30; bald never gets there.
    rows = {"random": [0.5, 0.6, 0.7, 0.8], "margin": [0.5, 0.7, 0.9, 0.9], "bald": [0.5, 0.5, 0.6, 0.7]}
    problem = problem_of({name: [row, row] for name, row in rows.items()}, LABELS)
    table = efficiency_table(problem, baseline="random").set_index("function")
    assert set(table["rule"]) == {"last mean of random"} and set(table["target"]) == {0.8}
    assert table["labels"].to_dict() == {"margin": 30, "random": 80, "bald": math.inf}  # without dirt of rounding
    assert table["efficiency"].to_dict() == pytest.approx({"margin": 80 / 30, "random": 1, "bald": 0})
    line = table.loc["margin"]
    assert (line["labels_low"], line["labels_high"]) == pytest.approx((30, 30))  # equal seeds leave no doubt
    given = efficiency_table(problem, [0.85, 0.95], "random").set_index(["target", "function"])
    assert given.loc[(0.85, "margin"), "efficiency"] == math.inf
    assert math.isnan(given.loc[(0.85, "bald"), "efficiency"])  # neither gets there
    assert math.isnan(given.loc[(0.95, "margin"), "efficiency"])
    assert set(given["rule"]) == {"given"}


def test_without_a_baseline_every_function_reaches_the_target(noisy):
    problem, curves = noisy
    table = efficiency_table(problem)
    assert table["target"].iloc[0] == pytest.approx(min(rows[:, -1].mean() for rows in curves.values()))
    assert set(table["rule"]) == {"lowest last mean of a function"}
    assert np.isfinite(table["labels"]).all() and table["efficiency"].isna().all()


def test_intervals_hold_the_value_and_repeat(noisy):
    problem, _ = noisy
    table = efficiency_table(problem, [0.7], "random")
    assert (table["labels_low"] <= table["labels"]).all() and (table["labels"] <= table["labels_high"]).all()
    assert (table["labels_low"] < table["labels_high"]).all()
    pairs = table.set_index("function")
    assert pairs.loc["random", ["efficiency_low", "efficiency_high"]].tolist() == [1, 1]  # pairs stay pairs
    assert table.equals(efficiency_table(problem, [0.7], "random"))


def test_one_seed_has_no_intervals_of_labels(problem_of):
    problem = problem_of({"random": [[0.5, 0.6]], "margin": [[0.5, 0.9]]})
    table = efficiency_table(problem, baseline="random")
    assert table[["labels_low", "labels_high", "efficiency_low", "efficiency_high"]].isna().all(axis=None)
    assert table["labels"].tolist() == pytest.approx([12.5, 20])


@pytest.mark.parametrize("target", [0, 1.01, 95])
def test_a_target_in_percent_is_refused(noisy, target):
    with pytest.raises(DalError, match=r"^target: expected a fraction from 0 to 1, such as 0\.95, got"):
        efficiency_table(noisy[0], [target])


def test_compare_problems_ranks_common_functions_by_area(problem_of, noisy):
    other = problem_of({"random": [[0.5, 0.6]], "margin": [[0.5, 0.5]], "extra": [[0.5, 0.9]]}, data="cifar10")
    comparison = compare_problems([noisy[0], other])
    assert comparison.baseline == "random"
    assert set(comparison.ranked) == {"random", "margin"} == set(comparison.penalty.index)
    ranks = dict(zip(comparison.ranked, comparison.ranks.ranks.T.tolist(), strict=True))
    assert ranks == {"margin": [1, 2], "random": [2, 1]}
    assert len(comparison.functions) == 7 and len(comparison.pairs) == 9
    with pytest.raises(DalError, match=r"^baseline: expected one of 'margin', 'random', got 'randum' \(did you mean"):
        compare_problems([noisy[0], other], baseline="randum")


def test_one_round_has_no_area(problem_of):
    problem = problem_of({"random": [[0.5], [0.5]], "margin": [[0.5], [0.5]]})
    comparison = compare_problems([problem])
    assert np.isnan(areas_of(problem.functions[0])).all()
    assert comparison.functions["area"].isna().all() and comparison.pairs["p_value"].isna().all()
    assert comparison.ranks is None and not comparison.penalty.to_numpy().any()
