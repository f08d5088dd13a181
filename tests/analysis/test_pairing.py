import itertools

import numpy as np
import pytest

from dal.analysis import read_run
from dal.analysis.pairing import pair_runs
from dal.errors import DalError


@pytest.fixture
def make(synthetic, tmp_path):
    numbers = itertools.count()
    return lambda accuracies, **options: read_run(
        synthetic.write_paired_run(tmp_path / f"{next(numbers)}", accuracies, **options)
    )


def grid(make, names=("margin", "random"), seeds=(0, 1), **options):
    return [make([0.5, 0.6 + 0.1 * i], acquisition=n, seed=s, **options) for i, n in enumerate(names) for s in seeds]


def test_a_problem_has_all_functions_on_the_same_seeds_best_area_first(make):
    (problem,) = pair_runs(grid(make, seeds=range(4)))
    assert (problem.name, problem.names, problem.seeds) == ("digits", ("random", "margin"), (0, 1, 2, 3))
    assert problem.labels.tolist() == [10, 20] and problem.measured.all() and problem.notes == ()
    assert problem.functions[0].accuracy.tolist() == pytest.approx(np.array([[0.5, 0.7]] * 4))


def test_a_problem_for_each_data_set(make):
    problems = pair_runs(grid(make) + grid(make, data="cifar10"))
    assert [problem.name for problem in problems] == ["cifar10", "digits"]


def test_other_settings_are_refused_and_named(make):
    runs = [*grid(make), *grid(make, ["badge"], campaign__query_size=20, model__dropout=0.5)]
    with pytest.raises(DalError) as error:
        pair_runs(runs)
    text = str(error.value)
    assert "on digits that differ only in the acquisition function and the seed" in text
    assert "campaign.query_size (10, 20)" in text or "campaign.query_size (20, 10)" in text
    assert "model.dropout (" in text and "--vary KEY" in text and "--across KEY" in text


def test_other_data_is_refused(make):
    with pytest.raises(DalError, match=r"data\.fingerprint \((aaaa, bbbb|bbbb, aaaa)\)"):
        pair_runs(grid(make) + grid(make, ["badge"], fingerprint="bbbb"))


def test_parameters_of_a_function_make_functions_of_their_own(make):
    runs = [
        *grid(make, ["random"]),
        *grid(make, ["bald"], acquisition__name="bald", acquisition__num_draws=20),
        *grid(make, ["bald"], acquisition__name="bald", acquisition__num_draws=100),
    ]
    (problem,) = pair_runs(runs)
    assert sorted(problem.names) == ["bald, num_draws=100", "bald, num_draws=20", "random"]


def test_vary_lets_a_section_belong_to_what_is_compared(make):
    runs = grid(make, ["margin"]) + grid(make, ["margin"], training__average=0.5, training__patience=10)
    (problem,) = pair_runs(runs, vary=["training"])
    assert sorted(problem.names) == ["margin, average=0.5, patience=10", "margin, without average, without patience"]
    with pytest.raises(DalError, match=r"training\.patience \("):
        pair_runs(runs, vary=["training.average"])


def test_a_preset_stands_for_the_keys_that_it_sets(make):
    runs = grid(make, ["margin"], compute="classic") + grid(make, ["margin"], compute="saver", training__average=0.5)
    presets = {"compute": ["training.average", "training.of_no_run"], "experiment": ["model.of_no_run"]}
    (problem,) = pair_runs(runs, vary=["compute"], presets=presets)
    assert sorted(problem.names) == ["margin, average=0.5", "margin, without average"]
    runs += grid(make, ["badge"], compute="classic") + grid(make, ["badge"], compute="saver", training__average=0.5)
    problems = pair_runs(runs, across=["compute"], presets=presets)
    assert [problem.name for problem in problems] == ["digits, average=0.5", "digits, without average"]
    four = {"compute": [key.replace("__", ".") for key in FOUR]}
    runs = grid(make, compute="classic") + grid(make, compute="saver", **FOUR)
    problems = pair_runs(runs, across=["compute"], presets=four)
    assert [problem.name for problem in problems] == ["digits, compute=classic", "digits, compute=saver"]
    with pytest.raises(DalError, match=r"^vary: expected a key of the configuration, .* got 'experiment'\.$"):
        pair_runs(runs, vary=["experiment"], presets=presets)


FOUR = {f"training__{name}": 1 for name in ("average", "patience", "max_epochs", "batch_size")}


def test_an_error_names_at_most_two_of_the_differing_settings(make):
    with pytest.raises(DalError) as error:
        pair_runs(grid(make) + grid(make, ["badge"], **FOUR))
    text = str(error.value)
    assert ", and 2 more, as in '" in text and text.count("training.") == 2


def test_names_of_functions_show_two_settings_and_count_the_others(make):
    changed = {**FOUR, "training__patience": 2}
    runs = grid(make, ["margin"]) + grid(make, ["margin"], **FOUR) + grid(make, ["margin"], **changed)
    runs += grid(make, ["margin"], data="photos") + grid(make, ["margin"], data="photos", **FOUR)
    digits, photos = pair_runs(runs, vary=["training"])
    assert all(name.count(", ") == 3 and name.endswith(", and 2 more") for name in digits.names)
    assert len(set(digits.names)) == 3 and set(photos.names) < set(digits.names)


def test_a_preset_that_differs_names_the_function(make):
    runs = grid(make, ["margin"], compute="classic") + grid(make, ["margin"], compute="saver", **FOUR)
    runs += grid(make, ["badge"], compute="saver", **FOUR)
    (problem,) = pair_runs(runs, vary=["training"])
    assert set(problem.names) == {"margin, compute=classic", "margin, compute=saver", "badge, compute=saver"}


def test_names_of_problems_show_two_settings_and_count_the_others(make):
    problems = pair_runs(grid(make) + grid(make, **FOUR), across=["training"])
    assert len({problem.name for problem in problems}) == 2
    for problem in problems:
        assert problem.name.startswith("digits, ") and problem.name.endswith(", and 2 more")
        assert problem.name.count(", ") == 3 and problem.names == ("random", "margin")


def test_across_makes_problems_of_the_values_of_a_key(make):
    runs = grid(make) + grid(make, campaign__query_size=20) + grid(make, data="cifar10")
    problems = pair_runs(runs, across=["campaign.query_size"])
    assert [p.name for p in problems] == ["cifar10", "digits, query_size=10", "digits, query_size=20"]
    assert all(problem.names == ("random", "margin") for problem in problems)


@pytest.mark.parametrize("argument", ["vary", "across"])
def test_a_key_that_no_run_has_is_refused(make, argument):
    with pytest.raises(DalError, match=rf"^{argument}: expected a key of the configuration, .*, got 'campaign\.quer'"):
        pair_runs(grid(make), **{argument: ["campaign.quer"]})


def test_missing_seeds_are_named_and_left_out_on_demand_only(make):
    runs = grid(make, seeds=(0, 1, 3)) + grid(make, ["badge", "bald"], seeds=(1, 2, 3))
    with pytest.raises(DalError) as error:
        pair_runs(runs)
    text = str(error.value)
    assert "no seed 2 of margin; random" in text or "no seed 2 of random; margin" in text
    assert "no seed 0 of badge; bald" in text or "no seed 0 of bald; badge" in text
    assert "compare only seeds 1, 3 with --common-seeds" in text
    (problem,) = pair_runs(runs, common_seeds=True)
    assert problem.seeds == (1, 3)
    assert all(f.accuracy.shape == (2, 2) and f.seeds == (1, 3) for f in problem.functions)
    assert problem.notes[0].startswith("compared only on seeds 1, 3: no seed ")


def test_no_seed_in_common_is_refused_even_on_demand(make):
    runs = grid(make, ["random"], seeds=[0]) + grid(make, ["badge"], seeds=[1])
    with pytest.raises(DalError, match=r"got no seed 0 of badge and no seed 1 of random; none is common\.$"):
        pair_runs(runs, common_seeds=True)


@pytest.mark.parametrize("what", ["initial", "validation"])
def test_another_initial_or_validation_set_is_refused_and_named(make, what):
    same = {"initial": ("a", "b"), "validation": ("v", "w")}
    runs = grid(make, seeds=[0], **same) + grid(make, ["badge"], seeds=[0], **same | {what: ("b", "c")})
    with pytest.raises(DalError, match=rf"the same {what} set in every function with seed 0 on digits, got another"):
        pair_runs(runs)


def test_the_order_of_the_initial_set_does_not_matter(make):
    pair_runs(grid(make, seeds=[0]) + grid(make, ["badge"], seeds=[0], initial=("b", "a")))


def test_a_run_without_its_selections_is_refused(make):
    runs = grid(make)
    (runs[0].path / "selections.csv").unlink()
    with pytest.raises(DalError, match=r"^run: expected selections\.csv in '.*', got no such file\."):
        pair_runs(runs)


def test_one_function_alone_is_refused(make):
    with pytest.raises(DalError, match=r"^runs: expected at least two functions .* on digits, got margin alone\.$"):
        pair_runs(grid(make, ["margin"]))


def test_a_lone_function_is_told_from_those_on_other_data(make):
    runs = [*grid(make, ["random"]), *grid(make, ["margin"], data="photos")]
    with pytest.raises(DalError, match=r"to compare on digits, got random alone, and margin on photos\.$"):
        pair_runs(runs)


def test_an_unfinished_run_cuts_the_others_short_on_request_alone(make):
    runs = [
        make([0.5, 0.6, 0.7], acquisition="random", seed=0, labels=[10, 20, 30]),
        make([0.5, 0.6], acquisition="margin", seed=0, labels=[10, 20], stopped=None),
    ]
    with pytest.raises(
        DalError, match=r"^runs: expected finished runs .* got '.*' with 20 of 30 labels; finish it, or"
    ):
        pair_runs(runs)
    (problem,) = pair_runs(runs, common_labels=True)
    assert problem.labels.tolist() == [10, 20]
    assert "compared up to 20 of 30 labels, all that seed 0 of margin bought" in problem.notes
    # One that a rule of its own ended early stays.
    (problem,) = pair_runs([runs[0], make([0.5, 0.6], acquisition="badge", seed=0, labels=[10, 20])])
    assert problem.labels.tolist() == [10, 20]


@pytest.mark.parametrize("count,share", [(2, 51), (3, 75), (4, None)])
def test_few_seeds_are_said_to_be_few(make, count, share):
    (problem,) = pair_runs(grid(make, seeds=range(count)))
    expected = [
        f"{count} seeds are few: bootstrap intervals of 95 % contain the true value in about {share} % of cases"
    ]
    assert [note for note in problem.notes if "are few" in note] == (expected if share else [])


def test_other_label_counts_are_interpolated_where_all_runs_are_and_it_is_said(make):
    runs = [
        make([0.4, 0.6, 0.8], acquisition="random", labels=[10, 20, 40]),
        make([0.4, 0.7, 0.9, 0.95], acquisition="margin", labels=[10, 30, 40, 50]),
    ]
    (problem,) = pair_runs(runs)
    assert problem.labels.tolist() == [10, 20, 30, 40]
    assert problem.measured.tolist() == [True, False, False, True]
    margin, random = problem.functions
    assert margin.accuracy.tolist() == [pytest.approx([0.4, 0.55, 0.7, 0.9])]
    assert random.accuracy.tolist() == [pytest.approx([0.4, 0.6, 0.7, 0.8])]
    text = " ".join(problem.notes)
    assert "compared up to 40 of 50 labels, all that seed 0 of random bought" in text
    assert "tests at single label counts use the 2 that all runs have" in text
    assert "one seed: no intervals and no tests" in text


def test_unfinished_runs_and_unequal_first_rounds_are_noted(make):
    runs = [
        make([0.50, 0.6], acquisition="random", seed=0),
        make([0.52, 0.6], acquisition="margin", seed=0),
        make([0.50, 0.6], acquisition="random", seed=1),
        make([0.50, 0.6], acquisition="margin", seed=1, stopped=None),
    ]
    (problem,) = pair_runs(runs)
    assert problem.notes[0] == "seed 1 of margin not finished"
    assert problem.notes[-1].startswith("seed 0: functions differ by up to 2.0 points with the initial set")
