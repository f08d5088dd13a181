"""ask, tell and fit, and whole campaigns on small real images."""

import copy
from importlib import import_module

import pytest
import torch
from helpers.passes import predict

from dal import ActiveLearner, Pool, run
from dal.acquisition import BADGE, BALD, CoreSet, Margin, Random
from dal.errors import DalError, NonFiniteError
from dal.labeling.oracle import DatasetOracle, NoisyOracle
from dal.loop import Query
from dal.runs.records import Records
from dal.runtime.seeding import derive_seed
from dal.scoring.config import ScoringConfig
from dal.stopping import CampaignConfig
from dal.training import TrainingConfig

FUNCTIONS = [Random(), Margin(), BALD(num_draws=4), CoreSet(), BADGE()]


@pytest.fixture
def started(data, new_model, quick):
    """A learner that was told 20 labels and trained."""

    def make(acquisition, **options):
        learner = ActiveLearner(new_model, data, acquisition, training=quick, seed=3, **options)
        query = learner.ask(20)
        learner.tell(query, data.labels[list(query)].tolist())
        learner.fit()
        return learner

    return make


@pytest.mark.parametrize("acquisition", FUNCTIONS, ids=lambda f: f.name)
def test_ask_gives_unlabeled_positions_of_the_training_set_with_their_ids(started, acquisition):
    learner = started(acquisition)
    query = learner.ask(15)
    assert isinstance(query, Query) and len(query) == len(set(query)) == 15
    assert set(query) <= set(learner.pool.unlabeled.tolist())
    assert list(query.ids) == [learner.data.ids[i] for i in query]
    assert list(learner.ask(15)) == list(query), "asking again before tell() must give the same answer"


def test_scores_belong_to_the_points_they_stand_beside(started):
    from dal.acquisition import margin_scores

    learner = started(Margin())
    query = learner.ask(15)
    logits = predict(learner.model, learner.data, torch.arange(len(learner.data)))
    scores = margin_scores(logits)
    assert torch.allclose(torch.tensor(query.scores, dtype=torch.float64), scores[list(query)], atol=1e-6)
    unasked = sorted(set(learner.pool.unlabeled.tolist()) - set(query))
    assert scores[unasked].max() <= min(query.scores) + 1e-6


@pytest.mark.parametrize("acquisition", FUNCTIONS, ids=lambda f: f.name)
@pytest.mark.parametrize("batch_size,num_workers", [(1, 0), (7, 0), (1000, 0), (16, 2)])
def test_selections_do_not_depend_on_how_the_pool_is_read(started, acquisition, batch_size, num_workers):
    learner = started(acquisition)
    expected = learner.ask(25)
    learner.scoring = ScoringConfig(batch_size=batch_size, num_workers=num_workers)
    again = learner.ask(25)
    assert again.indices == expected.indices and again.scores == expected.scores


@pytest.mark.parametrize("acquisition", FUNCTIONS, ids=lambda f: f.name)
def test_scoring_leaves_the_model_and_the_random_state_alone(started, acquisition):
    learner = started(acquisition)
    module = learner.model.module
    module.train()
    module.backbone.layers[0].eval()
    before = copy.deepcopy(module.state_dict())
    modes = [m.training for m in module.modules()]
    state = torch.random.get_rng_state()
    learner.ask(5)
    assert [m.training for m in module.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_initial_set_is_the_same_for_every_function_and_random_or_balanced(data, new_model, quick):
    firsts = {ActiveLearner(new_model, data, f, training=quick, seed=5).ask(9).indices for f in FUNCTIONS}
    assert len(firsts) == 1
    assert ActiveLearner(new_model, data, Margin(), seed=6).ask(9).indices not in firsts
    balanced = ActiveLearner(new_model, data, Margin(), seed=5, initial="balanced").ask(9)
    assert data.labels[list(balanced)].bincount().tolist() == [3, 3, 3]


def test_rank_orders_the_whole_pool_and_starts_as_ask_does(started):
    learner = started(Margin())
    ranking = learner.rank()
    assert sorted(ranking) == learner.pool.unlabeled.tolist()
    assert ranking.indices[:10] == learner.ask(10).indices


def test_candidates_of_ones_own_are_asked_with_the_pool_and_a_generator_of_the_round(started):
    calls = []

    class Odd:
        def check(self, num_points, query_size):
            pass

        def choose(self, pool, query_size, generator, features):
            calls.append((query_size, generator.initial_seed()))
            return pool.unlabeled[pool.unlabeled % 2 == 1]

    learner = started(CoreSet(), candidates=Odd())
    assert all(i % 2 for i in learner.ask(9))
    learner.tell([learner.ask(9)[0]], [0])
    learner.fit()
    learner.ask(7)
    seeds = [derive_seed(3, round, "candidates") for round in (0, 0, 1)]
    assert calls == [(9, seeds[0]), (9, seeds[1]), (7, seeds[2])], "the initial set needs no candidates"
    with pytest.raises(DalError, match=r"query_size: .*"):
        learner.ask(60)


def test_bad_calls_are_one_sentence_each(data, new_model, quick):
    learner = ActiveLearner(new_model, data, BALD(), training=quick)
    with pytest.raises(DalError, match=r"query_size: expected a whole number from 1 to 90 .* got 0"):
        learner.ask(0)
    with pytest.raises(DalError, match=r"query_size: .* got 91"):
        learner.ask(91)
    with pytest.raises(DalError, match="fit: expected labeled points, got none"):
        learner.fit()
    with pytest.raises(DalError, match=r"indices: expected positions from 0 to 89, got 90"):
        learner.tell([90], [0])
    with pytest.raises(
        DalError, match=r"labels: expected a class from 0 to 2, or -2 for none of them, got 3 for index 4"
    ):
        learner.tell([4], [3])
    learner.tell([4], [2])
    with pytest.raises(DalError, match=r"indices: expected unlabeled points, got 4, labeled in round 0"):
        learner.tell([4], [2])
    with pytest.raises(DalError, match=r"ask: expected fit\(\) before"):
        learner.ask(3)
    with pytest.raises(DalError, match=r"acquisition: expected an acquisition function .* got 'str'"):
        ActiveLearner(new_model, data, "bald")
    with pytest.raises(DalError, match=r"pool: expected 90 points of 3 classes"):
        ActiveLearner(new_model, data, BALD(), pool=Pool(80, 3))


def test_model_with_other_classes_is_refused(data):
    from dal import Classifier
    from dal.models.backbones import SmallCNN

    with pytest.raises(DalError, match=r"model: expected a last layer with 3 outputs.* got 4 outputs at"):
        ActiveLearner(Classifier(SmallCNN(1, (8, 8)), num_classes=4), data, Margin())


def test_nan_weights_are_found_while_scoring_and_the_image_is_named(started):
    learner = started(Margin())
    with torch.no_grad():
        learner.model.head_layer.bias[0] = torch.nan
    first = learner.data.ids[int(learner.pool.unlabeled[0])]
    with pytest.raises(NonFiniteError, match=f"got NaN or infinity for '{first}'"):
        learner.ask(3)


def test_model_without_dropout_is_refused_at_once_with_what_to_add(data):
    from dal import Classifier
    from dal.models.backbones import SmallCNN

    model = Classifier(SmallCNN(1, (8, 8), dropout=0.0), 3, dropout=0.0)
    with pytest.raises(DalError, match=r"Add nn.Dropout"):
        ActiveLearner(model, data, BALD())
    ActiveLearner(model, data, Margin())


def test_a_dataset_that_is_not_image_data_is_refused_with_what_to_call(new_model):
    with pytest.raises(DalError, match=r"data: expected ImageData, such as from_dataset"):
        ActiveLearner(new_model, torch.utils.data.TensorDataset(torch.zeros(3, 1, 8, 8)), Margin())


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"validation_size": 91, "budget": 200}, "campaign.validation_size: expected at most the 90 points"),
        ({"validation_size": 85, "budget": 200}, "campaign.initial_size: expected at most the 5 points"),
        ({"query_size": 81, "budget": 200}, "campaign.query_size: expected at most the 80 points"),
        ({"target": 0.5}, "campaign.target_metric: expected a metric that is measured"),
    ],
)
def test_a_campaign_that_cannot_be_is_refused_before_it_begins(data, new_model, settings, message):
    learner = ActiveLearner(new_model, data, Random())
    with pytest.raises(DalError, match=message):
        run(learner, DatasetOracle(data), CampaignConfig(**{"initial_size": 10, "query_size": 10} | settings))
    assert learner.pool.num_labeled == 0


def test_a_campaign_learns_and_its_rows_add_up(data, test_data, new_model):
    training = TrainingConfig(batch_size=16, min_updates=40, max_updates=80, check_every=20)
    learner = ActiveLearner(new_model, data, Margin(), training=training)
    campaign = CampaignConfig(initial_size=6, query_size=10, budget=36, validation_size=10)
    rows = run(learner, DatasetOracle(data), campaign, test=test_data)
    assert [row["num_labeled"] for row in rows] == [6, 16, 26]
    assert [row["labels_bought"] for row in rows] == [16, 26, 36]
    assert [row["campaign_stopped"] for row in rows] == [None, None, "budget"]
    assert rows[-1]["test_accuracy"] > 0.85
    assert all(row["samples_backward_train"] == 16 * row["updates"] for row in rows[1:])
    assert rows[0]["samples_backward_train"] == 6 * rows[0]["updates"]
    assert [row["samples_forward_score"] for row in rows] == [0, 90 - 16, 90 - 26]
    assert all(row["samples_forward_test"] == 60 for row in rows)
    assert all(sum(map(sum, row["test_confusion_matrix"])) == 60 for row in rows)
    assert set(learner.validation[0].tolist()).isdisjoint(learner.pool.labeled.tolist())


@pytest.mark.parametrize(
    "settings,reason,rounds",
    [
        ({"budget": 20}, "budget", 2),
        ({"budget": 1000, "query_size": 50}, "pool_empty", 3),
        ({"max_rounds": 2}, "rounds", 2),
        ({"target": 0.01}, "target", 1),
        ({"plateau_rounds": 1, "plateau_delta": 2.0}, "plateau", 2),
        ({"growth": 2.0, "budget": 70}, "budget", 4),
    ],
)
def test_campaigns_end_for_the_reason_in_the_record(data, test_data, new_model, settings, reason, rounds):
    training = TrainingConfig(min_updates=1, max_updates=2, check_every=2)
    learner = ActiveLearner(new_model, data, Random(), training=training)
    campaign = CampaignConfig(**{"initial_size": 10, "query_size": 10, "budget": 500} | settings)
    rows = run(learner, DatasetOracle(data), campaign, test=test_data)
    assert rows[-1]["campaign_stopped"] == reason
    assert len(rows) == rounds
    if "growth" in settings:
        assert [row["num_labeled"] for row in rows] == [10, 20, 40, 70]


def test_points_nobody_can_label_are_never_asked_for(data, new_model, quick):
    hidden = data.labels.clone()
    hidden[::2] = -1
    partly = data.__class__(**{**vars(data), "labels": hidden})
    learner = ActiveLearner(new_model, partly, Margin(), training=quick)
    rows = run(learner, DatasetOracle(partly), CampaignConfig(initial_size=20, query_size=20, budget=90))
    assert rows[-1]["campaign_stopped"] == "pool_empty" and rows[-1]["num_labeled"] == 45
    assert all(i % 2 for i in learner.pool.labeled.tolist())


def test_told_labels_are_what_is_trained_on_not_the_hidden_ones(data, new_model, quick):
    learner = ActiveLearner(new_model, data, Random(), training=quick)
    oracle = NoisyOracle(data, noise=1.0)
    run(learner, oracle, CampaignConfig(initial_size=30, budget=30))
    told = learner.pool.labels(learner.pool.labeled)
    assert (told != data.labels[learner.pool.labeled]).all()


@pytest.mark.parametrize("policy", ["scratch", "continue", "shrink_perturb"])
def test_warm_start_decides_the_weights_a_round_starts_from(data, new_model, policy, monkeypatch):
    module = import_module("dal.training.fit_round")

    starts = []

    def spy(setup, *args, **kwargs):
        starts.append(copy.deepcopy(setup.passes.model.module.state_dict()))
        return real(setup, *args, **kwargs)

    real = module.fit
    monkeypatch.setattr(module, "fit", spy)
    training = TrainingConfig(min_updates=1, max_updates=3, check_every=3, warm_start=policy, shrink=0.4, perturb=0.2)
    learner = ActiveLearner(new_model, data, Random(), training=training, seed=9)
    ends = []
    for _ in range(2):
        query = learner.ask(10)
        learner.tell(query, data.labels[list(query)].tolist())
        learner.fit()
        ends.append(copy.deepcopy(learner.model.module.state_dict()))
    fresh = learner._fresh_state()
    key = "head.weight"
    assert not torch.equal(fresh[key], starts[0][key]), "a factory makes another network every round"
    expected = {
        "scratch": fresh[key],
        "continue": ends[0][key],
        "shrink_perturb": 0.4 * ends[0][key] + 0.2 * fresh[key],
    }[policy]
    assert torch.equal(starts[1][key], expected)


def test_a_module_starts_afresh_from_the_weights_it_came_with(data, new_model, quick):
    module = new_model()
    came_with = copy.deepcopy(module.state_dict())
    learner = ActiveLearner(module, data, Random(), training=quick)
    learner.tell([0, 1, 2], [0, 1, 2])
    learner.fit()
    assert not torch.equal(module.head.weight, came_with["head.weight"])
    assert all(torch.equal(v, came_with[k]) for k, v in learner._fresh_state().items())


def test_same_seed_same_campaign_other_seed_another(data, test_data, new_model, quick):
    def campaign(seed):
        records = Records()
        learner = ActiveLearner(new_model, data, BALD(num_draws=4), training=quick, seed=seed)
        config = CampaignConfig(initial_size=10, query_size=10, budget=30)
        run(learner, DatasetOracle(data), config, test=test_data, records=records)
        return records.selections, [row["test_loss"] for row in records.rows]

    assert campaign(1) == campaign(1)
    assert campaign(1) != campaign(2)
