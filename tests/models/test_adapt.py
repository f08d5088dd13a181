import copy

import pytest
import pytorch_lightning as pl
import torch
from helpers.own_modules import OwnModule, dense, learner_of, two_rounds
from torch import nn

from dal.acquisition import BALD, Margin
from dal.errors import DalError
from dal.models import Classifier, adapt
from dal.models.adapt import AdaptedModel, as_adapted
from dal.models.adapted.scoring_model import scoring_view
from dal.models.backbones import SmallCNN


class Mine(pl.LightningModule):
    def __init__(self, forward=None):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Tanh())
        self.fc = nn.Linear(5, 3)
        self.how = forward or (lambda m, x: m.fc(m.body(x)))

    def forward(self, x):
        return self.how(self, x)


X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_features_and_logits_are_the_input_and_output_of_the_head():
    module = Mine()
    with scoring_view(adapt(module, head="fc")) as view:
        features, logits = view.features(X), view.logits(X)
        assert torch.equal(view.head(features), logits)
    torch.testing.assert_close(features, module.body(X))
    torch.testing.assert_close(logits, module(X))


@pytest.mark.parametrize("after", [lambda z: z.softmax(dim=1), lambda z: z.argmax(dim=1), lambda z: None])
def test_what_forward_does_after_the_head_does_not_matter(after):
    module = Mine(lambda m, x: after(m.fc(m.body(x))))
    with scoring_view(adapt(module, "fc")) as view:
        logits = view.logits(X).clone()
    torch.testing.assert_close(logits, module.fc(module.body(X)))


def test_half_precision_logits_come_as_float32():
    module = Mine().bfloat16()
    with scoring_view(adapt(module, "fc")) as view:
        assert view.logits(X.bfloat16()).dtype == view.head(view.features(X.bfloat16())).dtype == torch.float32


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("classifier", "head: expected the name of the last layer, perhaps 'fc', got 'classifier'."),
        ("", "head: expected the name of the last layer, perhaps 'fc', got ''."),
    ],
)
def test_a_head_that_is_not_there(head, message):
    with pytest.raises(DalError) as error:
        adapt(Mine(), head=head)
    assert str(error.value) == message


def test_a_head_that_is_not_there_in_a_module_without_linear_layers():
    class Convolutions(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.last = nn.Conv2d(1, 3, 8)

    with pytest.raises(DalError, match=r"^head: expected one of last, got 'lst' \(did you mean last\?\)\.$"):
        adapt(Convolutions(), head="lst")


@pytest.mark.parametrize("module", [nn.Linear(2, 2), "model", None])
def test_not_a_lightning_module(module):
    with pytest.raises(DalError, match=rf"^module: expected a LightningModule, got '{type(module).__name__}'\.$"):
        adapt(module, head="fc")


@pytest.mark.parametrize("times", [0, 2])
def test_a_head_that_does_not_run_once(times):
    def forward(m, x):
        return sum((m.fc(m.body(x)) for _ in range(times)), torch.zeros(1))

    with (
        pytest.raises(
            DalError,
            match=rf"^head: expected 'fc' to run once in forward\(\), got {times} runs\. .* predict=",
        ),
        scoring_view(adapt(Mine(forward), "fc")) as view,
    ):
        view.logits(X)


def test_features_that_are_not_flat():
    module = Mine(lambda m, x: m.fc(m.body(x).view(2, 2, 1, 5)))
    with pytest.raises(DalError) as error, scoring_view(adapt(module, "fc")) as view:
        view.features(X)
    assert str(error.value) == (
        "head: expected a layer from (B, D) features to (B, C) logits at 'fc', got '(2, 2, 1, 5) to (2, 2, 1, 3)'."
    )


def test_the_head_keeps_no_hook_when_forward_fails():
    def forward(m, x):
        m.fc(m.body(x))
        raise KeyError("mine")

    module = Mine(forward)
    with pytest.raises(KeyError), scoring_view(adapt(module, "fc")) as view:
        view.logits(X)
    assert not module.fc._forward_hooks


def test_as_adapted_knows_the_head_of_a_classifier():
    classifier = Classifier(SmallCNN(1, (8, 8)), 3)
    assert as_adapted(classifier).head_layer is classifier.head
    mine = adapt(Mine(), "fc")
    assert as_adapted(mine) is mine
    assert isinstance(mine, AdaptedModel)
    with pytest.raises(
        DalError,
        match=r"^model: expected a Classifier or adapt\(module, head=\.\.\.\), perhaps with head='fc', got 'Mine'",
    ):
        as_adapted(Mine())


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_moves_to_the_device_and_back_outside_inference_mode(fails):
    """What is moved in inference mode could not be trained any more."""
    module, moves = Mine(), []
    object.__setattr__(module, "to", lambda device: moves.append((str(device), torch.is_inference_mode_enabled())))
    try:
        with scoring_view(adapt(module, "fc"), device=torch.device("cuda")):
            assert moves == [("cuda", False)]
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert moves == [("cuda", False), ("cpu", False)]
    moves.clear()
    with scoring_view(adapt(module, "fc"), device=torch.device("cpu")):
        pass
    assert moves == []


def test_a_layer_with_two_names_is_found_under_both():
    module = Mine()
    module.net = nn.Sequential(module.body, module.fc)
    for head in ("net.1", "fc"):
        adapted = adapt(module, head)
        assert adapted.head == head and adapted.head_layer is module.fc
        with scoring_view(adapted) as view:
            torch.testing.assert_close(view.logits(X), module(X))


def test_a_module_with_lazy_weights_is_refused_until_it_has_run():
    module = Mine()
    module.fc = nn.LazyLinear(3)
    with pytest.raises(DalError, match=r"^module: expected layers whose weights .*, got LazyLinear at 'fc'\.$"):
        adapt(module, "fc")
    module(X)
    assert adapt(module, "fc").head == "fc"


class Shifted(OwnModule):
    in_place = False

    def forward(self, x):
        x = x.sub_(0.5) if self.in_place else x - 0.5
        return self.net(nn.functional.dropout(x, 0.3, training=self.training))


@pytest.mark.parametrize("function", [Margin(), BALD(num_draws=4)], ids=["margin", "bald"])
@pytest.mark.filterwarnings("error:.*random in eval mode")
def test_a_forward_that_changes_its_images_in_place_scores_as_one_that_does_not(function):
    picks, net = [], dense(nn.ReLU(), nn.Linear(6, 3))
    for in_place in (False, True):
        module = type("Own", (Shifted,), {"in_place": in_place})(copy.deepcopy(net))
        picks.append(two_rounds(learner_of(adapt(module, head="net.3"), function)))
    assert picks[0].indices == picks[1].indices
    assert picks[0].scores == pytest.approx(picks[1].scores, abs=1e-6)


class WithoutBody(OwnModule):
    def state_dict(self, *args, **named):
        return {name: value for name, value in super().state_dict(*args, **named).items() if "net.1" not in name}


class Renamed(OwnModule):
    def __init__(self, net):
        super().__init__(net)
        self._register_state_dict_hook(lambda m, state, *_: {k.replace("net.", "body."): v for k, v in state.items()})


class WithNotes(OwnModule):
    def get_extra_state(self):
        return {"epochs": 3}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (WithoutBody, r"state_dict\(\) to have each parameter .* got no 'net.1.weight'"),
        (Renamed, r"state_dict\(\) to have each parameter .* got no 'net.1.weight'"),
        (WithNotes, r"only tensors in state_dict\(\), got dict at '_extra_state'"),
    ],
)
def test_a_state_dict_from_which_no_round_can_start_is_refused(kind, message):
    with pytest.raises(DalError, match=f"^module: expected {message}"):
        adapt(kind(dense()), head="net.4")


def test_weights_under_two_names_and_buffers_that_are_not_stored_are_no_gap():
    module = OwnModule(dense())
    module.same = module.net[4]
    module.register_buffer("cache", torch.zeros(3), persistent=False)
    module.register_buffer("table", torch.zeros(3))
    assert adapt(module, head="net.4").head == "net.4"
