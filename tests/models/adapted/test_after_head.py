"""What a module learns between its head and the output of forward()."""

import pytest
import torch
from torch import nn

from dal.models.adapt import AdaptedModel
from dal.models.adapted.after_head import learns_after_head

CLASSES = 5


class Net(nn.Module):
    """A network whose forward() passes the output of its head to a function."""

    def __init__(self, after, **parts):
        super().__init__()
        self.body, self.fc, self.after = nn.Linear(8, 6), nn.Linear(6, CLASSES), after
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        features = self.body(x).relu()
        return self.after(self, self.fc(features), features)


def zeros(layer):
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


CASES = {
    "nothing": (False, lambda: Net(lambda net, out, f: out)),
    "softmax": (False, lambda: Net(lambda net, out, f: out.softmax(dim=1))),
    "sigmoid": (False, lambda: Net(lambda net, out, f: out.sigmoid())),
    "temperature": (False, lambda: Net(lambda net, out, f: out / net.t, t=nn.Parameter(torch.tensor(0.07)))),
    "scale of CLIP": (False, lambda: Net(lambda net, out, f: out * net.t.exp(), t=nn.Parameter(torch.tensor(2.6)))),
    "unused layer": (False, lambda: Net(lambda net, out, f: out, own=nn.Linear(6, CLASSES))),
    "embedding": (False, lambda: Net(lambda net, out, f: f)),
    "error": (False, lambda: Net(lambda net, out, f: out + net.b[net.b > 0].item(), b=nn.Parameter(torch.zeros(2)))),
    "batch norm": (True, lambda: Net(lambda net, out, f: net.bn(out), bn=nn.BatchNorm1d(CLASSES))),
    "its buffers": (True, lambda: Net(lambda net, out, f: net.bn(out), bn=nn.BatchNorm1d(CLASSES, affine=False))),
    "bias": (True, lambda: Net(lambda net, out, f: out + net.b, b=nn.Parameter(torch.zeros(CLASSES)))),
    "scale": (True, lambda: Net(lambda net, out, f: (out * net.s).softmax(1), s=nn.Parameter(torch.ones(CLASSES)))),
    "branch": (True, lambda: Net(lambda net, out, f: out + net.own(f), own=zeros(nn.Linear(6, CLASSES)))),
}


@pytest.mark.parametrize("name", CASES)
def test_only_what_can_change_the_class_counts_and_all_weights_are_restored(name):
    expected, make = CASES[name]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net, x = make().eval(), torch.rand(3, 8)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.get_rng_state()
    model = AdaptedModel(net, "fc")
    with torch.no_grad():
        out = net.fc(net.body(x).relu())
        assert learns_after_head(model, x, out) is expected
    assert torch.equal(torch.get_rng_state(), state) and not net.fc._forward_hooks
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_a_buffer_that_forward_replaces_is_restored():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)
            self.register_buffer("mean", torch.zeros(4))

        def forward(self, x):
            self.mean = 0.9 * self.mean + 0.1 * x.mean(dim=0)
            return self.fc(x - self.mean)

    net, x = Counts().eval(), torch.rand(3, 4)
    with torch.no_grad():
        assert not learns_after_head(AdaptedModel(net, "fc"), x, torch.zeros(3, 3))
    assert net.mean.tolist() == [0.0] * 4


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_an_expanded_buffer_stays_and_hides_nothing(shift):
    net = Net(lambda net, out, f: out + shift * net.b, b=nn.Parameter(torch.zeros(CLASSES)))
    net.register_buffer("mean", torch.ones(1).expand(8))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.no_grad():
        assert learns_after_head(AdaptedModel(net, "fc"), torch.rand(3, 8), torch.zeros(3, CLASSES)) is bool(shift)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_one_output_or_a_tuple_is_not_judged():
    net = Net(lambda net, out, f: out)
    for out in (torch.zeros(3), torch.zeros(3, 1), torch.zeros(3, 4, dtype=torch.int64), (torch.zeros(3, 4),), None):
        assert not learns_after_head(AdaptedModel(net, "fc"), torch.rand(3, 8), out)
