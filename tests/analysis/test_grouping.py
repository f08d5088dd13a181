import itertools

import pytest

from dal.analysis import group_runs, read_run
from dal.errors import DalError


@pytest.fixture
def make(synthetic, tmp_path):
    numbers = itertools.count()
    return lambda accuracies, **options: read_run(
        synthetic.write_run(tmp_path / f"{next(numbers)}", accuracies, **options)
    )


def test_runs_that_differ_in_seed_and_free_keys_are_a_group_in_order_of_seeds(make):
    runs = [make([0.1 * s, 0.2 * s], seed=s, run_dir=f"runs/{s}", scoring__batch_size=2**s) for s in (10, 2, 1)]
    (group,) = group_runs(runs)
    assert (group.name, group.data, group.settings, group.note) == ("margin", "digits", "", "")
    assert group.seeds == (1, 2, 10)
    assert group.labels.tolist() == [10, 20]
    assert group.accuracy.tolist() == [[0.1 * s, 0.2 * s] for s in (1, 2, 10)]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"campaign__query_size": 20}, ["margin, query_size=10", "margin, query_size=20"]),
        ({"acquisition": "badge"}, ["badge", "margin"]),
        ({"data__max_train": 500}, ["margin, max_train=500", "margin, no max_train"]),
        ({"model__dropout": 0.5}, ["margin, dropout=0.5", "margin, without dropout"]),
        ({"acquisition__name": "bald", "acquisition__num_draws": 20}, ["bald", "margin"]),
        ({"fingerprint": "bbbb"}, ["margin, fingerprint=aaaa", "margin, fingerprint=bbbb"]),
        ({"acquisition__temperature": [1, 2]}, ["margin, temperature=[1, 2]", "margin, without temperature"]),
    ],
)
def test_any_setting_that_differs_parts_runs_and_is_in_their_names(make, change, names):
    groups = group_runs([make([0.5], seed=0), make([0.5], seed=1, **change)])
    assert sorted(group.name for group in groups) == names
    assert [len(group.runs) for group in groups] == [1, 1]


def test_what_a_label_buys_is_the_first_of_what_differs(make):
    regions = {"campaign__unit": "region", "campaign__query_size": 80, "data__region_size": 16, "campaign__budget": 320}
    runs = [make([0.5, 0.6], campaign__query_size=size, campaign__budget=4 * size) for size in (10, 20)]
    names = [group.name for group in group_runs([*runs, make([0.5, 0.6], **regions)])]
    assert len(set(names)) == 3 and all(name.startswith("margin, unit=") for name in names)


def test_every_key_of_the_real_configuration_parts_runs_but_the_free_ones(make):
    from dal.config.overrides import compose
    from dal.runs.saved_config import FREE, flatten

    whole = dict(flatten(compose([])))
    assert len(whole) > 20
    for key, value in whole.items():
        if key in ("seed", "acquisition.name", "data.name"):
            continue
        sections = key.replace(".", "__")
        is_number = key == "campaign.target" or (key.startswith("prices.") and key != "prices.currency")
        other = 0.5 if is_number else "other"
        runs = [make([0.5], seed=0, **{sections: value}), make([0.5], seed=1, **{sections: other})]
        idle = key.startswith("prices.") or key in ("campaign.stop_set_size", "campaign.kappa_rounds")
        assert len(group_runs(runs)) == (1 if key in FREE or idle else 2), key


def test_prices_part_runs_only_where_the_campaign_goes_by_them(make):
    changes = [{"prices__label": price} for price in (0.1, 0.2)]
    assert len(group_runs([make([0.5], seed=s, **change) for s, change in enumerate(changes)])) == 1
    optimum = [{**change, "campaign__cost_optimum": True} for change in changes]
    names = [group.name for group in group_runs([make([0.5], seed=s, **change) for s, change in enumerate(optimum)])]
    assert sorted(names) == ["margin, label=0.1", "margin, label=0.2"]


def test_the_size_of_the_stop_set_parts_runs_only_where_a_rule_follows_it(make):
    assert len(group_runs([make([0.5], seed=s, campaign__stop_set_size=n) for s, n in enumerate((0, 500))])) == 1
    for rule in ("kappa", "max_change", "max_uncertainty"):
        changes = [{"campaign__stop_set_size": n, f"campaign__{rule}": 0.5} for n in (100, 500)]
        assert len(group_runs([make([0.5], seed=s, **change) for s, change in enumerate(changes)])) == 2, rule


def test_a_removed_option_parts_runs_only_where_it_was_on(make):
    off = {"training__rewind": 0.0, "training__replay": None, "campaign__grow_below": None}
    (group,) = group_runs([make([0.5], seed=0), make([0.5], seed=1, **off)])
    assert (group.seeds, group.name) == ((0, 1), "margin")
    groups = group_runs([make([0.5], seed=0), make([0.5], seed=1, **off, training__warm_start="auto")])
    assert sorted(group.name for group in groups) == ["margin, warm_start=auto", "margin, without warm_start"]
    groups = group_runs([make([0.5], seed=0), make([0.5], seed=1, **{**off, "training__rewind": 0.3})])
    assert sorted(group.name for group in groups) == ["margin, rewind=0.3", "margin, without rewind"]


def test_settings_of_other_data_sets_and_functions_are_not_in_a_name(make):
    runs = [
        make([0.5], campaign__query_size=10),
        make([0.5], data="cifar10", campaign__query_size=100),
        make([0.5], acquisition="bald", acquisition__num_draws=20),
    ]
    assert [(g.data, g.name) for g in group_runs(runs)] == [
        ("cifar10", "margin"),
        ("digits", "bald"),
        ("digits", "margin"),
    ]


def test_a_setting_that_only_another_function_was_run_with_is_in_every_name(make):
    runs = [make([0.5]), make([0.5], acquisition="random", campaign__query_size=20)]
    assert [g.name for g in group_runs(runs)] == ["margin, query_size=10", "random, query_size=20"]


def test_names_are_as_long_as_it_takes(make):
    runs = [make([0.5], model__size=s, data__size=t, model__depth=d) for s, t, d in ((1, 1, 1), (2, 2, 2))]
    assert group_runs(runs)[0].name == "margin, data.size=1, depth=1, and 1 more"


def test_a_seed_that_is_there_twice_is_refused(make):
    runs = [make([0.5], seed=4), make([0.6], seed=1), make([0.5], seed=4)]
    with pytest.raises(DalError) as error:
        group_runs(runs)
    expected = "runs: expected one run per seed with the same settings, got seed 4 in "
    assert str(error.value).startswith(f"{expected}{str(runs[0].path)!r} and in {str(runs[2].path)!r}. Leave one")


def test_the_common_rounds_are_compared_and_it_is_said(make):
    runs = [make([0.1, 0.2, 0.3], seed=0), make([0.4, 0.5], seed=1, stopped=None), make([0.6, 0.7, 0.8], seed=2)]
    (group,) = group_runs(runs)
    assert group.labels.tolist() == [10, 20]
    assert group.accuracy.tolist() == [[0.1, 0.2], [0.4, 0.5], [0.6, 0.7]]
    assert group.note == "compared up to 20 of 30 labels, all that seed 1 bought; seed 1 not finished"


def test_rounds_at_other_labels_are_not_averaged(make):
    runs = [make([0.1, 0.2, 0.3], seed=0), make([0.1, 0.2, 0.3], labels=[10, 25, 30], seed=1)]
    (group,) = group_runs(runs)
    assert group.labels.tolist() == [10]
    assert group.note == "compared up to 10 labels, after which the rounds differ"
    with pytest.raises(
        DalError, match=r"^runs: expected the same number of initial labels for each seed, got another in "
    ):
        group_runs([make([0.1], seed=0), make([0.1], labels=[5], seed=1)])


def test_groups_are_sorted_by_data_then_by_final_accuracy(make):
    runs = [
        make([0.9, 0.1], acquisition="a"),
        make([0.1, 0.9], acquisition="b"),
        make([0.5, 0.5], acquisition="c", data="cifar10"),
    ]
    assert [group.name for group in group_runs(runs)] == ["c", "b", "a"]


def test_no_runs_and_runs_without_a_test_set_are_refused(make):
    with pytest.raises(DalError, match=r"^runs: expected at least one run, got none\.$"):
        group_runs([])
    run = make([0.5])
    del run.rows[0]["test_accuracy"]
    with pytest.raises(DalError, match=r"^runs: expected test_accuracy in every round, got a run without it in "):
        group_runs([run])
