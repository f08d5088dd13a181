"""MC dropout draws K networks: one wide pass over a tile equals K plain passes with fixed masks."""

import copy

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn

from dal.errors import DalError
from dal.models.adapt import adapt
from dal.models.adapted.scoring_model import scoring_view
from dal.models.backbones import build_backbone
from dal.models.classifier import Classifier
from dal.models.dropout.mc_dropout import DropoutDraws


class Net(pl.LightningModule):
    """Flattened 1 x 4 x 4 images through ``body`` to a head of three classes."""

    def __init__(self, body, features=6):
        super().__init__()
        self.body, self.head = body, nn.Linear(features, 3)

    def forward(self, x):
        return self.head(self.body(x.flatten(1)))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.drop, self.outer = nn.Linear(16, 16), nn.Dropout(0.5), nn.Linear(16, 6)

    def forward(self, x):
        return self.outer(x + self.drop(self.inner(x)))


class SharedDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.drop = nn.Linear(16, 16), nn.Linear(16, 6), nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.b(self.drop(self.a(x))))


class Channels(nn.Module):
    def __init__(self, drop):
        super().__init__()
        self.conv, self.drop = nn.Conv2d(1, 6, 3, padding=1), drop

    def forward(self, x):
        return self.drop(self.conv(x.view(-1, 1, 4, 4))).tanh().mean(dim=(2, 3))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.3, batch_first=True)
        self.embed = nn.Linear(4, 6)

    def forward(self, x):
        return self.layer(self.embed(x.view(-1, 4, 4))).mean(dim=1)


fast_encoder_layer = nn.TransformerEncoderLayer.forward


def slow_encoder_layer(self, src, *args, **kwargs):
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        return fast_encoder_layer(self, src, *args, **kwargs)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


class SoftmaxAfterHead(Net):
    def forward(self, x):
        return super().forward(x).softmax(dim=1)


def small_cnn():
    return Classifier(build_backbone("small_cnn", (1, 8, 8)), 4)


def resnet():
    return Classifier(build_backbone("resnet18_cifar", (3, 16, 16)), 4)


def googlenet():
    """Two dropouts, convolutions and BatchNorm before them."""
    return Classifier(build_backbone("torchvision/googlenet", (3, 32, 32)), 4)


def body(*layers):
    return Net(nn.Sequential(*layers))


NETWORKS = {
    "small_cnn": (small_cnn, (1, 8, 8)),
    "resnet18_cifar": (resnet, (3, 16, 16)),
    "two_dropouts": (
        lambda: body(nn.Linear(16, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 6), nn.Dropout(0.5)),
        (1, 4, 4),
    ),
    "inplace": (lambda: body(nn.Linear(16, 6), nn.Dropout(0.5, inplace=True), nn.ReLU(inplace=True)), (1, 4, 4)),
    "everything_is_dropped": (lambda: body(nn.Dropout(0.5), nn.Linear(16, 6), nn.Dropout(1.0)), (1, 4, 4)),
    "alpha": (lambda: body(nn.Linear(16, 6), nn.AlphaDropout(0.4)), (1, 4, 4)),
    "dropout2d": (lambda: Net(Channels(nn.Dropout2d(0.4))), (1, 4, 4)),
    "feature_alpha": (lambda: Net(Channels(nn.FeatureAlphaDropout(0.4))), (1, 4, 4)),
    "shared": (lambda: Net(SharedDropout()), (1, 4, 4)),
    "residual": (lambda: Net(Residual()), (1, 4, 4)),
    "transformer": (lambda: Net(Transformer()), (1, 4, 4)),
    "softmax_after_head": (lambda: SoftmaxAfterHead(nn.Sequential(nn.Linear(16, 6), nn.Dropout(0.5))), (1, 4, 4)),
    "googlenet": (googlenet, (3, 32, 32)),
}
# Where the last dropout drops all, there is nothing left that could differ.
DIFFERENT = [name for name in NETWORKS if name != "everything_is_dropped"]
QUICK = [name for name in DIFFERENT if name not in ("googlenet", "resnet18_cifar")]


@pytest.fixture(scope="module")
def networks():
    """Each network with BatchNorm statistics that are not 0 and 1, and images for it."""
    built = {}

    def get(name, count=5):
        if name not in built:
            make, shape = NETWORKS[name]
            with torch.random.fork_rng():
                torch.manual_seed(3)
                module = make()
                for m in module.modules():
                    if isinstance(m, nn.BatchNorm2d):
                        nn.init.normal_(m.running_mean, std=0.1)
                        nn.init.uniform_(m.running_var, 0.8, 1.2)
                built[name] = module, torch.randn(24, *shape)
        module, images = built[name]
        return adapt(module, head="head"), images[:count]

    return get


def mc(adapted, x, num_draws=4, seed=0):
    with scoring_view(adapted, seed) as view:
        return view.mc_log_probs(x, num_draws).clone()


class MaskLayer(nn.Module):
    """A plain multiplication where a dropout layer was, with the mask that draw ``k`` has there."""

    def __init__(self, draws, name, layer, k):
        super().__init__()
        self.draws, self.name, self.k, self.calls = draws, name, k, 0
        self.layer = [layer]

    def forward(self, x):
        layer = self.layer[0]
        keep = self.draws._mask(self.name, self.calls, layer, x)[self.k]
        self.calls += 1
        p = layer.p
        if isinstance(layer, nn.AlphaDropout | nn.FeatureAlphaDropout):
            alpha = 1.7580993408473766
            a = (1 - p + alpha**2 * p * (1 - p)) ** -0.5
            return a * torch.where(keep, x, torch.full_like(x, -alpha)) + a * alpha * p
        return torch.where(keep, x, torch.zeros_like(x)) / (1 - p)


@pytest.mark.parametrize("name", DIFFERENT)
def test_the_wide_pass_is_k_plain_passes(networks, name, monkeypatch):
    """Against networks whose dropout layers were replaced, so that no hook is involved in the reference."""
    # In eval mode PyTorch's fused encoder would pass by the layers that stand in for dropout.
    monkeypatch.setattr(nn.TransformerEncoderLayer, "forward", slow_encoder_layer)
    adapted, x = networks(name)
    wide = mc(adapted, x, num_draws=3, seed=5)
    assert wide.shape == (len(x), 3, wide.shape[2])
    draws = DropoutDraws(adapted.module, 3, 5)
    for k in range(3):
        plain = copy.deepcopy(adapted.module).eval()
        logits = []
        plain.head.register_forward_hook(lambda m, args, out, kept=logits: kept.append(out))
        for path, layer in draws.layers.items():
            plain.set_submodule(path, MaskLayer(draws, path, layer, k))
        with torch.no_grad():
            plain(x)
        torch.testing.assert_close(wide[:, k], logits[0].log_softmax(dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", DIFFERENT)
def test_draws_differ_and_seeds_draw_other_networks(networks, name):
    adapted, x = networks(name)
    wide = mc(adapted, x)
    for k in range(1, 4):
        assert (wide[:, k] - wide[:, 0]).abs().max() > 1e-4
    assert not torch.equal(wide, mc(adapted, x, seed=1))
    torch.testing.assert_close(wide, mc(adapted, x), rtol=0, atol=0)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("batch_size", [1, 7])
def test_masks_do_not_depend_on_the_batches(networks, name, batch_size):
    adapted, x = networks(name, 24)
    whole = mc(adapted, x)
    with scoring_view(adapted) as view:
        parts = torch.cat([view.mc_log_probs(part, 4) for part in x.split(batch_size)]).clone()
        backwards = view.mc_log_probs(x.flip(0), 4).flip(0).clone()
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(backwards, whole, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", QUICK)
def test_draw_k_does_not_depend_on_how_many_there_are(networks, name):
    adapted, x = networks(name)
    torch.testing.assert_close(mc(adapted, x, 9)[:, :2], mc(adapted, x, 2), rtol=1e-5, atol=2e-6)
    with scoring_view(adapted) as view:
        first = view.mc_log_probs(x, 2).clone()
        view.mc_log_probs(x, 5)
        assert torch.equal(view.mc_log_probs(x, 2), first)


LAYERS = [nn.Dropout(0.3), nn.Dropout2d(0.3), nn.Dropout3d(0.3), nn.AlphaDropout(0.3), nn.FeatureAlphaDropout(0.3)]


@pytest.mark.filterwarnings("ignore:dropout2d. Received a 5-D input")
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_values_and_rates_are_those_of_the_layer_in_training(layer):
    """The same two values as PyTorch's own layer gives, as often, and whole channels where it drops channels."""
    x = torch.full((1, 8, 3, 3, 3), 2.0)
    draws = DropoutDraws(nn.Sequential(layer), 4000, 0)
    with draws.widening():
        ours = draws.module.eval()(x)
    torch.manual_seed(0)
    theirs = copy.deepcopy(layer).train()(x.expand(1000, *x.shape[1:]))
    values, counts = ours.unique(return_counts=True)
    their_values, their_counts = theirs.unique(return_counts=True)
    assert len(values) == len(their_values) == 2
    torch.testing.assert_close(values, their_values, rtol=1e-5, atol=1e-6)
    kept = counts[-1] / counts.sum()
    channelwise = "2d" in type(layer).__name__ or "3d" in type(layer).__name__ or "Feature" in type(layer).__name__
    # Five standard errors of 4000 draws of 8 channels, or of 8 * 27 elements.
    assert abs(kept - 0.7) < 5 * (0.21 / (4000 * (8 if channelwise else 8 * 27))) ** 0.5
    assert abs(their_counts[-1] / their_counts.sum() - 0.7) < 0.03
    constant_channels = (ours == ours[:, :, :1, :1, :1]).flatten(2).all(dim=2).float().mean()
    assert constant_channels == 1 if channelwise else constant_channels < 0.1


def test_dropout_keeps_the_mean_and_scales_by_one_over_one_minus_p():
    draws = DropoutDraws(nn.Sequential(nn.Dropout(0.25)), 20000, 0)
    with draws.widening():
        out = draws.module.eval()(torch.tensor([[3.0, -1.0]])).view(20000, 2)
    torch.testing.assert_close(out.unique(), torch.tensor([-4 / 3, 0.0, 4.0]))
    torch.testing.assert_close(out.mean(dim=0), torch.tensor([3.0, -1.0]), rtol=0, atol=0.08)
    # Positions are dropped independently of each other.
    assert abs(((out[:, 0] == 0) & (out[:, 1] == 0)).float().mean() - 0.0625) < 0.01


def test_two_layers_of_one_kind_have_masks_of_their_own():
    draws = DropoutDraws(nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5)), 8, 0)
    masks = [draws._mask(name, call, draws.layers[name], torch.zeros(1, 64)) for name, call in (("0", 0), ("1", 0))]
    again = draws._mask("0", 1, draws.layers["0"], torch.zeros(1, 64))
    for first, second in [(masks[0], masks[1]), (masks[0], again), (masks[1], again)]:
        assert 0.35 < (first == second).float().mean() < 0.65


def test_layers_before_the_first_dropout_run_once_for_all_draws():
    module = small_cnn()
    rows = {}
    layers = {"conv": module.backbone.layers[3], "dense": module.backbone.layers[8]}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda m, args, out, name=name: rows.setdefault(name, []).append(len(out)))
    x = torch.randn(6, 1, 8, 8)
    with scoring_view(adapt(module, "head")) as view:
        view.mc_log_probs(x, 5)
        rows.clear()
        view.mc_log_probs(x, 5)
    assert rows == {"conv": [6], "dense": [30]}


def test_a_connection_round_the_first_dropout_widens_the_input(networks):
    adapted, x = networks("residual")
    rows = []
    handle = adapted.module.body.inner.register_forward_hook(lambda m, args, out: rows.append(len(out)))
    mc(adapted, x)
    handle.remove()
    assert rows[-1] == 5 * 4


WITHOUT = "model: expected a dropout layer for MC dropout, got a network without one"
SAME = "model: expected the dropout draws to differ, got the same output from every draw. Put a dropout layer"


class UnusedBranch(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(16, 6), nn.Sequential(nn.Linear(16, 2), nn.Dropout(0.5))

    def forward(self, x):
        self.unused(x)
        return self.used(x)


class AfterHead(Net):
    def __init__(self):
        super().__init__(nn.Linear(16, 6))
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(super().forward(x))


class FunctionalDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 6)

    def forward(self, x):
        return F.dropout(self.linear(x), 0.5, self.training)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (body(nn.Linear(16, 6)), WITHOUT),
        (body(nn.Linear(16, 6), nn.Dropout(0.0)), WITHOUT),
        (Net(UnusedBranch()), SAME),
        (AfterHead(), SAME),
    ],
    ids=["none", "p=0", "unused branch", "after the head"],
)
def test_a_network_whose_draws_cannot_differ_is_refused(module, sentence):
    with pytest.raises(DalError) as error:
        mc(adapt(module, "head"), torch.randn(4, 1, 4, 4))
    assert str(error.value).startswith(sentence)
    assert "nn.Dropout" in str(error.value)


class BatchMean(nn.Module):
    def __init__(self, drop=None):
        super().__init__()
        self.drop = drop or nn.Dropout(0.5)

    def forward(self, x):
        dropped = self.drop(x)
        return dropped - dropped.mean(dim=0)


class TimeFirst(nn.Module):
    """The batch stands in dimension 1 of what the dropout layer sees."""

    def __init__(self):
        super().__init__()
        self.drop, self.linear = nn.Dropout(0.5), nn.Linear(4, 6)

    def forward(self, x):
        return self.linear(self.drop(x.view(-1, 4, 4).transpose(0, 1)).mean(dim=0))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_network_that_mixes_images_is_refused(count):
    with pytest.raises(DalError, match="process the images of a batch independently"):
        mc(adapt(body(nn.Linear(16, 6), BatchMean()), "head"), torch.randn(count, 1, 4, 4))


def test_a_dropout_layer_that_is_not_pytorchs_is_refused():
    class Mine(nn.modules.dropout._DropoutNd):
        def forward(self, x):
            return x

    with pytest.raises(DalError, match=r"^model: expected PyTorch's own dropout layers, got Mine at 'body.1'"):
        mc(adapt(body(nn.Linear(16, 6), Mine(0.5)), "head"), torch.randn(2, 1, 4, 4))


@pytest.mark.parametrize("scale", [40.0, 1e-6], ids=["confident", "unsure"])
def test_autocast_does_not_make_the_check_fail(networks, scale):
    """Half precision may round a wide pass to other numbers than plain ones, and the draws to the same numbers."""
    adapted, x = networks("resnet18_cifar")
    scaled = copy.deepcopy(adapted.module)
    with torch.no_grad():
        scaled.head.weight.mul_(scale)
    with scoring_view(adapt(scaled, "head")) as view, torch.autocast("cpu", dtype=torch.bfloat16):
        assert view.mc_log_probs(x, 4).shape == (5, 4, 4)
        # The check alone is in full precision.
        assert view.module(x).dtype == torch.bfloat16
