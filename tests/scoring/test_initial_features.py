import numpy as np
import pytest
import torch

from dal.acquisition import KMeans, Margin, TypiClust
from dal.campaign import run
from dal.errors import DalError
from dal.labeling import DatasetOracle
from dal.loop import ActiveLearner
from dal.models import Classifier
from dal.models.backbones import SmallCNN
from dal.runs.folder import RunFolder
from dal.runs.records import Records
from dal.runtime.seeding import derive_seed
from dal.scoring.config import ScoringConfig
from dal.scoring.initial_features import mostly_equal
from dal.stopping import CampaignConfig
from dal.training import TrainingConfig

POLICIES = ("typiclust", "kmeans")
SHORT = TrainingConfig(min_updates=1, max_updates=2)


@pytest.fixture(scope="module")
def data(shared):
    return shared.make_images(60)


def network(freeze=False, seed=1):
    torch.manual_seed(seed)
    return Classifier(SmallCNN(1, (8, 8)), num_classes=3, freeze_backbone=freeze)


def learner_of(data, policy="typiclust", make=network, **options):
    scoring = ScoringConfig(**options)
    return ActiveLearner(make, data, Margin(), training=SHORT, scoring=scoring, initial=policy, seed=4)


@pytest.fixture
def features_file(tmp_path):
    """Three groups of 20 points: one far left, one far right, one in the middle, in turn."""
    centers = torch.tensor([[-9.0, 0.0], [9.0, 0.0], [0.0, 9.0]])[torch.arange(60) % 3]
    features = centers + torch.randn(60, 2, generator=torch.Generator().manual_seed(0)) / 10
    np.save(tmp_path / "features.npy", features.numpy())
    return str(tmp_path / "features.npy")


@pytest.mark.parametrize("policy", POLICIES)
def test_a_file_decides_and_its_groups_are_covered(data, features_file, policy):
    query = learner_of(data, policy, features_file=features_file).ask(3)
    assert sorted(index % 3 for index in query) == [0, 1, 2]
    assert list(query.scores) == [None] * 3
    assert list(query.ids) == [data.ids[index] for index in query]


@pytest.mark.parametrize(("policy", "function"), [("typiclust", TypiClust()), ("kmeans", KMeans())])
def test_it_is_the_acquisition_function_on_the_features_of_the_candidates(data, features_file, policy, function):
    learner = learner_of(data, policy, features_file=features_file)
    learner.pool.exclude(range(0, 60, 4))
    candidates = learner.pool.unlabeled
    features = torch.from_numpy(np.load(features_file))[candidates]
    seed = derive_seed(derive_seed(4, "initial"), 0, "acquisition")
    chosen = function.select({"features": features}, {}, 7, torch.Generator().manual_seed(seed))
    assert list(learner.ask(7)) == candidates[chosen.positions].tolist()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("freeze", [False, True])
def test_the_network_decides_without_a_file(data, policy, freeze):
    """The same points for any batch size, and others than another network chooses."""
    picks = [learner_of(data, policy, network(freeze), batch_size=size).ask(9).indices for size in (4, 512)]
    assert picks[0] == picks[1] and len(set(picks[0])) == 9
    assert learner_of(data, policy, network(freeze, seed=2)).ask(9).indices != picks[0]
    learner = learner_of(data, policy, network(freeze))
    assert learner.ask(9).indices == learner.ask(9).indices == picks[0]


@pytest.mark.parametrize("policy", POLICIES)
def test_labels_are_never_read(data, shared, policy):
    unknown = shared.make_images(60, labels=torch.full((60,), -1), source=data.source)
    assert learner_of(unknown, policy, network()).ask(9).indices == learner_of(data, policy, network()).ask(9).indices


@pytest.mark.parametrize("policy", POLICIES)
def test_random_weights_are_refused_before_anything_is_written(data, policy, tmp_path):
    def random_network():
        return Classifier(SmallCNN(1, (8, 8)), num_classes=3)

    learner = learner_of(data, policy, random_network)
    sentence = (
        "campaign.initial: expected random for a network with random weights (set model.weights=DEFAULT or a path, or "
        f"scoring.features_file), got '{policy}'."
    )
    for start in (lambda: learner.ask(3), lambda: run(learner, DatasetOracle(data), campaign(policy), records=fail)):
        with pytest.raises(DalError) as error:
            start()
        assert str(error.value) == sentence
    assert learner_of(data, "random", random_network).ask(3)


def fail():
    raise AssertionError("the folder was opened")


def test_a_function_that_loads_weights_is_fine(data):
    """The head is random, as in every classifier with a pre-trained backbone."""
    loaded = SmallCNN(1, (8, 8)).state_dict()

    def pretrained():
        backbone = SmallCNN(1, (8, 8))
        backbone.load_state_dict(loaded)
        return Classifier(backbone, num_classes=3)

    assert len(learner_of(data, "kmeans", pretrained).ask(5)) == 5


def test_a_file_that_does_not_fit_is_refused(data, tmp_path):
    np.save(tmp_path / "short.npy", np.zeros((9, 2), np.float32))
    with pytest.raises(DalError, match=r"scoring\.features_file: expected one row for each of the 60 points"):
        learner_of(data, features_file=str(tmp_path / "short.npy")).ask(3)


def campaign(policy):
    return CampaignConfig(initial_size=6, query_size=6, budget=12, initial=policy, stop_set_size=0)


@pytest.mark.parametrize(("freeze", "phase"), [(False, "score"), (True, "embed")])
def test_the_pass_is_charged_to_its_phase(data, freeze, phase):
    rows = run(learner_of(data, make=network(freeze)), DatasetOracle(data), campaign("typiclust"))
    assert rows[0][f"samples_forward_{phase}"] == 60
    assert rows[0]["flops_select"] > 0
    assert rows[0]["seconds_select"] > 0
    plain = run(learner_of(data, "random", network()), DatasetOracle(data), campaign("random"))
    assert plain[0]["samples_forward_score"] == plain[0]["flops_select"] == 0


def test_a_file_costs_no_pass(data, features_file):
    learner = learner_of(data, make=network(), features_file=features_file)
    rows = run(learner, DatasetOracle(data), campaign("typiclust"))
    assert rows[0]["samples_forward_score"] == 0


class Stops(Exception):
    """An end in the middle of a run."""


class Reluctant(DatasetOracle):
    def __call__(self, indices):
        raise Stops


@pytest.mark.parametrize("freeze", [False, True])
def test_a_resumed_run_chooses_the_same_and_counts_its_features_once(data, tmp_path, freeze):
    def folder(name):
        return RunFolder(tmp_path / name, {"seed": 4}, "aaaa")

    whole = run(learner_of(data, make=network(freeze)), DatasetOracle(data), campaign("kmeans"), records=Records())
    with pytest.raises(Stops):
        run(learner_of(data, make=network(freeze)), Reluctant(data), campaign("kmeans"), records=(f := folder("a")))
    f.close()
    resumed = run(
        learner_of(data, make=network(freeze)), DatasetOracle(data), campaign("kmeans"), records=(f := folder("a"))
    )
    f.close()

    def exact(rows):
        skipped = ("seconds", "peak_memory", "joules", "training_history")
        return [{k: v for k, v in row.items() if not k.startswith(skipped) and "diagnose" not in k} for row in rows]

    assert exact(resumed) == exact(whole)


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        ({"w": torch.zeros(4, 4), "head": torch.ones(2, 4)}, True),
        ({"w": torch.ones(4, 4), "head": torch.zeros(2, 4)}, False),
        ({"w": torch.zeros(4, 5), "head": torch.zeros(2, 4)}, False),
        ({}, False),
    ],
)
def test_weights_are_pretrained_if_most_do_not_depend_on_the_seed(other, equal):
    assert mostly_equal({"w": torch.zeros(4, 4), "head": torch.zeros(2, 4), "bias": torch.zeros(99)}, other) == equal
