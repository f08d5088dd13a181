import pytest
import torch

from dal.acquisition import BALD, Margin
from dal.models.adapt import adapt, as_adapted
from dal.models.backbones import SmallCNN
from dal.models.classifier import Classifier
from dal.scoring import remembered
from dal.scoring.config import ScoringConfig
from dal.scoring.model_pass import ModelPass
from dal.scoring.select import summarize_points


class Subclass(Classifier):
    pass


@pytest.fixture
def probes(monkeypatch):
    """Return the list to which each search for a tile size or a layout adds its name."""
    found = []
    for name in ("tile_size", "takes_channels_last"):
        search = getattr(remembered, name)
        monkeypatch.setattr(remembered, name, lambda *a, s=search, n=name: found.append(n) or s(*a))
    return found


def passes_of(kind=Classifier, **config):
    module = kind(SmallCNN(1, (8, 8)), num_classes=3)
    return ModelPass(as_adapted(module) if kind is Classifier else adapt(module, "head"), ScoringConfig(**config))


def test_a_network_of_dal_is_probed_once_for_each_computation(data, probes):
    passes, points = passes_of(), (data, torch.arange(20))
    first = summarize_points(passes, Margin(), points)["scores"]
    assert probes == ["takes_channels_last", "tile_size"]
    with torch.no_grad():
        passes.model.module.head.weight.mul_(2)
    second = summarize_points(passes, Margin(), points)["scores"]
    assert probes == ["takes_channels_last", "tile_size"] and not torch.equal(first[:], second[:])
    passes.logits(*points)
    assert probes == ["takes_channels_last", "tile_size", "tile_size"]
    summarize_points(passes_of(memory_budget="1MiB"), Margin(), points)
    assert len(probes) == 5


def test_draws_and_networks_of_users_are_probed_in_each_pass(data, probes):
    points = (data, torch.arange(20))
    for passes, function in ((passes_of(), BALD(4)), (passes_of(Subclass), Margin())):
        probes.clear()
        for _ in range(2):
            summarize_points(passes, function, points)
        assert probes.count("tile_size") == 2


def test_a_tile_of_one_image_is_not_remembered(data, monkeypatch):
    sizes = iter([1, 8])
    monkeypatch.setattr(remembered, "tile_size", lambda *a: next(sizes))
    passes = passes_of()
    for _ in range(3):  # the third pass would raise StopIteration
        passes.logits(data, torch.arange(20))
    assert next(sizes, None) is None
