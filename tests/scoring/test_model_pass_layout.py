"""Channels last and TF32 hold in the pass alone, and change a result by rounding only."""

import pytest
import pytorch_lightning as pl
import torch
from helpers.passes import pool_pass, summarize_points
from torch import nn

from dal.acquisition import BALD, Margin
from dal.errors import DalError
from dal.models.adapt import adapt, as_adapted
from dal.models.backbones import build_backbone
from dal.models.classifier import Classifier
from dal.scoring.config import ScoringConfig


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return as_adapted(Classifier(build_backbone("small_cnn", (1, 8, 8)), 3))


@pytest.fixture(scope="module")
def data(shared):
    return shared.make_images(150)


def equal(ours, theirs):
    return len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


class Views(pl.LightningModule):
    """A forward() that works in one layout only."""

    def __init__(self):
        super().__init__()
        self.conv, self.drop, self.head = nn.Conv2d(1, 4, 3), nn.Dropout(0.5), nn.Linear(144, 3)

    def forward(self, x):
        return self.head(self.drop(self.conv(x).view(len(x), -1)))


def test_a_network_that_views_its_images_keeps_their_layout(data):
    adapted = adapt(Views(), "head")
    found, plain = (
        summarize_points(adapted, BALD(4), data, torch.arange(30), config=ScoringConfig(channels_last=asked))
        for asked in (None, False)
    )
    assert equal(found, plain)
    with pytest.raises(DalError, match=r"^scoring.channels_last: expected a network that supports this layout"):
        summarize_points(adapted, BALD(4), data, torch.arange(30), config=ScoringConfig(channels_last=True))


def strides_and_memory(module):
    return [(p.stride(), p.data_ptr(), p.is_inference(), p.requires_grad) for p in module.parameters()]


@pytest.mark.parametrize("fails", [False, True])
def test_channels_last_holds_in_the_pass_alone(data, shared, fails):
    module = Classifier(build_backbone("small_cnn", (1, 8, 8)), 3)
    before, state = strides_and_memory(module), shared.module_state(module)
    weight = module.backbone.layers[3].weight
    seen = []

    def reduce(view, x):
        seen.append((x.is_contiguous(memory_format=torch.channels_last), x.stride()[1], weight.stride()[1]))
        if fails and len(seen) > 1:
            raise KeyError
        return (view.logits(x),)

    config = ScoringConfig(channels_last=True, tile_size=8)
    try:
        pool_pass(as_adapted(module), data, torch.arange(30), reduce, config=config)
    except KeyError:
        assert fails
    assert set(seen) == {(True, 1, 1)}
    assert strides_and_memory(module) == before and shared.module_state(module) == state
    module.training_step((torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])), 0).backward()


@pytest.mark.parametrize("acquisition", [BALD(4), Margin()], ids=["bald", "margin"])
def test_channels_last_changes_a_result_by_rounding_only(model, data, acquisition):
    rows = [
        summarize_points(model, acquisition, data, torch.arange(60), config=ScoringConfig(channels_last=layout))[0]
        for layout in (False, True)
    ]
    torch.testing.assert_close(rows[0], rows[1], rtol=1e-4, atol=1e-6)


def test_tf32_is_set_for_the_pass_alone(model, data):
    matmul = torch.backends.cuda.matmul

    def setting():
        return matmul.fp32_precision if hasattr(matmul, "fp32_precision") else matmul.allow_tf32

    before, seen = setting(), set()

    def reduce(view, x):
        seen.add(setting())
        return (view.logits(x),)

    pool_pass(model, data, torch.arange(9), reduce, config=ScoringConfig(precision="tf32"))
    assert seen <= {"tf32", True} and setting() == before
