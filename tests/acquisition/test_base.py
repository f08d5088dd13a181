"""The contract of acquisition functions: summaries by name, one select() for shards, old names refused."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from dal.acquisition import Shard, ShardedFunction, registry
from dal.acquisition.base import AcquisitionFunction, ScoreFunction, Selection, check_summary
from dal.errors import DalError


@dataclass(frozen=True)
class Corners(AcquisitionFunction):
    keeps: ClassVar[tuple[str, ...]] = ("features", "weights")

    def summarize(self, model, x):
        return {"weights": torch.ones(len(x)), "features": model.features(x)}

    def select(self, pool, labeled, query_size, generator):
        return Selection(pool["weights"].argsort()[:query_size], torch.zeros(query_size))


@dataclass(frozen=True)
class Unnamed(Corners):
    keeps: ClassVar[tuple[str, ...]] = ()


def test_a_summary_with_the_names_that_keeps_has_is_good(fake_model):
    function = Corners()
    check_summary(function, function.summarize(fake_model.random(5), torch.arange(5)))


@pytest.mark.parametrize(
    "summary,message",
    [
        (
            (torch.zeros(3, 2), torch.zeros(3)),
            r"Corners\.summarize\(\): expected a dict of the tensors named in keeps, such as .*, got 'tuple'\.",
        ),
        (
            {"features": torch.zeros(3, 2)},
            r"expected tensors named as in keeps \(features, weights\), got 'features'\.",
        ),
        (
            {"features": torch.zeros(3, 2), "weights": torch.zeros(3), "more": torch.zeros(3)},
            "got 'features, weights, mo",
        ),
        ({}, r"expected tensors named as in keeps \(features, weights\), got 'none'\."),
        (
            {"features": torch.zeros(3, 2), "weights": torch.zeros(2)},
            r"the same number of rows in each .* got \[\(3, 2\), \(2,\)\]",
        ),
        ({"features": torch.zeros(3, 2), "weights": torch.tensor(1.0)}, r"tensors of B rows .* got \[\(3, 2\), \(\)\]"),
        ({"features": torch.zeros(3, 2), "weights": [1.0]}, r"tensors of B rows .* got \[\(3, 2\), 'list'\]"),
    ],
)
def test_any_other_summary_is_refused_with_a_sentence(summary, message):
    with pytest.raises(DalError, match=message) as caught:
        check_summary(Corners(), summary)
    assert "\n" not in str(caught.value)


def test_a_function_without_names_is_told_of_keeps():
    with pytest.raises(DalError, match=r"named as in keeps \(which is empty\), got 'features'\."):
        check_summary(Unnamed(), {"features": torch.zeros(3, 2)})


@pytest.mark.parametrize(
    "old,value,new",
    [
        ("needs_labels", True, "learns_from_labels"),
        ("needs_labeled", True, "uses_labeled_points"),
        ("takes_targets", True, "uses_target_points"),
        ("with_targets", lambda self, targets: self, r"with_target_points\(\)"),
        ("features_part", 0, 'the name "features" in keeps'),
        ("features_alone", True, r'keeps = \("features",\)'),
        ("keeps_draws", True, 'a name such as "log_probs" in keeps'),
    ],
)
@pytest.mark.parametrize("base", [AcquisitionFunction, ScoreFunction, ShardedFunction])
def test_an_attribute_of_the_old_contract_is_refused_with_the_new_name(base, old, value, new):
    with pytest.raises(DalError, match=rf"^Old\.{old}: expected {new}, got the old name\.$"):
        type("Old", (base,), {old: value})


def test_no_function_of_the_package_has_select_of_its_own_beside_select_in():
    for cls in registry().values():
        assert "select_in" not in vars(cls) or "select" not in vars(cls), cls.__name__
        assert "select_in" not in vars(cls) or issubclass(cls, ShardedFunction), cls.__name__


@dataclass(frozen=True)
class First(ShardedFunction):
    keeps: ClassVar[tuple[str, ...]] = ("features",)

    def summarize(self, model, x):
        return {"features": model.features(x)}

    def select_in(self, shard, pool, labeled, query_size, generator):
        assert shard == Shard.alone(len(pool["features"]))
        return Selection(torch.arange(query_size), torch.full((query_size,), float(shard.total)))


def test_a_function_that_selects_in_shards_selects_alone():
    found = First().select({"features": torch.zeros(7, 2)}, {}, 2, torch.Generator())
    assert found.positions.tolist() == [0, 1] and found.scores.tolist() == [7.0, 7.0]


def test_only_functions_that_compare_points_by_them_keep_features():
    """Features of another network can replace these, but not a factor of a gradient, which is "inputs"."""
    kept = {name: cls.keeps for name, cls in registry().items()}
    replaceable = {name for name, keeps in kept.items() if "features" in keeps}
    alone = {name for name, keeps in kept.items() if keeps == ("features",)}
    assert alone == {"coreset", "kmeans", "typiclust"}
    assert replaceable - alone == {"alfa_mix", "cluster_margin", "dropquery", "probcover"}
    assert {name for name, keeps in kept.items() if "inputs" in keeps} == {"badge", "bait"}
