import numpy as np
import pytest
import torch

from dal import ActiveLearner
from dal.acquisition import BALD
from dal.errors import DalError
from dal.models import ModelConfig
from dal.models.adapt import as_adapted, check_members
from dal.models.adapted.scoring_model import scoring_view
from dal.models.backbones import SmallCNN
from dal.models.classifier import Classifier
from dal.models.ensemble import DeepEnsemble
from dal.training import TrainingConfig


def backbones(sizes=((8, 8),) * 3):
    torch.manual_seed(0)
    return [SmallCNN(1, size, dropout=0.0) for size in sizes]


@pytest.fixture
def ensemble():
    return DeepEnsemble(backbones(), num_classes=4, dropout=0.0).eval()


def alone(ensemble, i):
    """Member i as a network of its own."""
    member = Classifier(ensemble.backbone.members[i], 4, dropout=0.0)
    member.head = ensemble.head.members[i]
    return member


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def test_prediction_is_the_mean_of_the_members_probabilities(ensemble):
    x = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        logits = [alone(ensemble, i)(x).double().numpy() for i in range(3)]
        expected = np.mean([softmax(member) for member in logits], axis=0)
        np.testing.assert_allclose(ensemble(x).softmax(dim=1).numpy(), expected, atol=1e-6)
        np.testing.assert_allclose(ensemble(x).exp().numpy(), expected, atol=1e-6)
        for i, member in enumerate(logits):
            np.testing.assert_allclose(ensemble.member_log_probs(x)[:, i].exp().numpy(), softmax(member), atol=1e-6)


def test_gradients_are_those_of_networks_trained_alone(ensemble):
    x, y = torch.rand(6, 1, 8, 8), torch.tensor([0, 1, 2, 3, 0, 1])
    ensemble.loss(x, y).backward()
    together = [[p.grad.clone() for p in alone(ensemble, i).parameters()] for i in range(3)]
    for i in range(3):
        ensemble.zero_grad()
        member = alone(ensemble, i)
        member.loss(x, y).backward()
        for p, expected in zip(member.parameters(), together[i], strict=True):
            torch.testing.assert_close(p.grad, expected, rtol=1e-4, atol=1e-6)


def test_members_start_from_weights_of_their_own(ensemble):
    first, second, _ = ensemble.head.members
    assert not torch.equal(first.weight, second.weight)
    one, other = (member.layers[0].weight for member in list(ensemble.backbone.members)[:2])
    assert not torch.equal(one, other)


def test_draws_are_the_members(ensemble):
    x = torch.rand(4, 1, 8, 8)
    check_members(ensemble)
    with scoring_view(as_adapted(ensemble), seed=0) as view:
        found = view.mc_log_probs(x, num_draws=3)
        assert found.shape == (4, 3, 4)
        assert torch.equal(found, ensemble.member_log_probs(x))
        torch.testing.assert_close(view.logits(x), ensemble(x))
        features = view.features(x)
        assert features.shape == (4, 3 * 128)
        torch.testing.assert_close(view.head(features), view.logits(x))


def test_dropout_is_off_in_the_draws():
    ensemble = DeepEnsemble(backbones(), num_classes=4, dropout=0.5)
    x = torch.rand(4, 1, 8, 8)
    with scoring_view(as_adapted(ensemble)) as view:
        assert torch.equal(view.mc_log_probs(x, 3), view.mc_log_probs(x, 3))


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda: DeepEnsemble(backbones()[:1], 4), r"^backbones: expected at least 2, .*, got 1\.$"),
        (lambda: ModelConfig(ensemble_size=0), r"^model.ensemble_size: expected at least 1, got 0\.$"),
    ],
)
def test_bad_sizes_are_refused_with_a_sentence(made, sentence):
    with pytest.raises(DalError, match=sentence):
        made()


def test_another_number_of_draws_than_members_is_refused_at_the_start(shared, ensemble):
    data = shared.make_images(20, classes=4)
    with pytest.raises(DalError, match=r"^num_draws: expected 3, the number of ensemble members, got 20\.$"):
        ActiveLearner(ensemble, data, BALD(num_draws=20))
    ActiveLearner(ensemble, data, BALD(num_draws=3))
    with scoring_view(as_adapted(ensemble)) as view, pytest.raises(DalError, match=r"^num_draws: "):
        view.mc_log_probs(torch.rand(2, 1, 8, 8), 20)


def test_config_makes_an_ensemble_and_its_target_is_one_network():
    config = ModelConfig(ensemble_size=3, lr=0.01, final_backbone="small_cnn")
    ensemble = config.build((1, 8, 8), 4)
    assert isinstance(ensemble, DeepEnsemble) and ensemble.num_members == 3 and ensemble.lr == 0.01
    assert type(config.final().build((1, 8, 8), 4)) is Classifier


@pytest.mark.parametrize("warm_start", ["scratch", "continue", "shrink_perturb"])
def test_campaign_runs_and_repeats(shared, warm_start):
    data = shared.make_images(60)

    def picks():
        learner = ActiveLearner(
            lambda: ModelConfig(ensemble_size=2, dropout=0.0, backbone_dropout=0.0).build((1, 8, 8), 3),
            data,
            BALD(num_draws=2),
            training=TrainingConfig(min_updates=2, max_updates=4, warm_start=warm_start),
            trainer={"accelerator": "cpu", "logger": False},
        )
        found = []
        for _ in range(3):
            query = learner.ask(6)
            found += list(query)
            learner.tell(query, [int(data.labels[i]) for i in query])
            learner.fit()
        return found, learner.model.module

    (first, module), (second, _) = picks(), picks()
    assert first == second and len(set(first)) == 18
    one, other = module.head.members
    assert not torch.equal(one.weight, other.weight)
