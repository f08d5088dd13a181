"""Variants have short names that tell them apart."""

import itertools

import pytest

from dal.analysis import group_runs, read_run, summarize_runs
from dal.analysis.variant_names import Variant, variant_names

SAVER = {"training__warm_start": "continue", "training__average": 0.5, "candidates__kind": "random", "compute": "saver"}
CLASSIC = {"training__warm_start": "scratch", "training__average": 0.0, "candidates__kind": "all", "compute": "classic"}


@pytest.fixture
def make(synthetic, tmp_path):
    numbers = itertools.count()
    return lambda accuracies, **options: read_run(
        synthetic.write_run(tmp_path / f"{next(numbers)}", accuracies, **options)
    )


def test_recipes_are_named_by_their_presets(make):
    runs = [make([0.5, 0.6], **SAVER), make([0.5, 0.7], **CLASSIC)]
    assert [group.name for group in group_runs(runs)] == ["margin, compute=classic", "margin, compute=saver"]
    table = summarize_runs(runs)
    assert table["settings"].tolist() == ["compute=classic", "compute=saver"]
    assert table["all_settings"][0].split("; ") == ["kind=all", "average=0.0", "warm_start=scratch"]


def test_a_recipe_that_was_changed_says_what_was_changed(make):
    runs = [make([0.5, 0.6], **SAVER), make([0.5, 0.8], **CLASSIC)]
    runs.append(make([0.5, 0.7], **{**SAVER, "campaign__query_size": 40}))
    names = [group.name for group in group_runs(runs)]
    assert names[0] == "margin, compute=classic"
    assert set(names[1:]) == {"margin, compute=saver, query_size=40", "margin, compute=saver, query_size=10"}


def test_names_of_many_variants_have_two_settings_and_stay_distinct():
    bits = list(itertools.product("01", repeat=5))
    variants = [Variant((), tuple((f"s{i}", bit) for i, bit in enumerate(row))) for row in bits]
    names = variant_names(variants, [])
    assert len(set(names)) == 32 and names[0] == "s0=0, s1=0, and 3 more"
    assert names[1] == "s0=0, s1=0, and 3 more (2)"


def test_null_and_unset_are_words():
    variants = [Variant((), (("target", value), ("x", other))) for value, other in (("null", "1"), ("0.9", "unset"))]
    assert variant_names(variants, []) == ["no target, x=1", "target=0.9, without x"]


def test_up_to_two_settings_are_shown_as_they_are():
    variants = [Variant((("compute", name),), (("lr", name), ("seed", "0"))) for name in ("a", "b")]
    assert variant_names(variants, ["compute"]) == ["lr=a, seed=0", "lr=b, seed=0"]


def test_the_settings_that_tell_variants_apart_are_shown():
    rows = ["0000", "0001", "0010", "0011"]
    variants = [Variant((), tuple((f"s{i}", bit) for i, bit in enumerate(row))) for row in rows]
    assert variant_names(variants, [])[1:3] == ["s2=0, s3=1, and 2 more", "s2=1, s3=0, and 2 more"]
    third_alone = [
        Variant((), (("a", x), ("b", x), ("c", y), ("d", x))) for x, y in (("0", "0"), ("0", "1"), ("1", "2"))
    ]
    assert variant_names(third_alone, [])[0] == "a=0, c=0, and 2 more"


def test_settings_that_look_the_same_get_a_number():
    variants = [Variant((("compute", "a"),), tuple((name, "1") for name in "xyz")) for _ in range(3)]
    assert variant_names(variants, ["compute"]) == ["compute=a", "compute=a (2)", "compute=a (3)"]
