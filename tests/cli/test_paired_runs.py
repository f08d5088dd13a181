"""A seed fixes, whatever the acquisition function: the initial set, the validation split, the weights' initialization
in every round, and what a noisy oracle answers."""

import pytest
import torch

from dal import ActiveLearner, run
from dal.acquisition import BADGE, Margin, Random
from dal.labeling.oracle import NoisyOracle
from dal.runs.records import Records
from dal.stopping import CampaignConfig
from dal.training import TrainingConfig

CONFIG = CampaignConfig(initial_size=12, query_size=12, budget=46, validation_size=10, stop_set_size=20)
TRAINING = TrainingConfig(batch_size=16, min_updates=5, max_updates=20, check_every=10, warm_start="scratch")


def campaign(function, seed, data, test_data, new_model):
    records = Records()
    learner = ActiveLearner(new_model, data, function, training=TRAINING, seed=seed)
    starts = []
    fresh = learner._fresh_state

    def noted():
        state = fresh()
        starts.append({name: value.clone() for name, value in state.items()})
        return state

    learner._fresh_state = noted
    rows = run(learner, NoisyOracle(data, 0.3, seed), CONFIG, test=test_data, records=records)
    return records, rows, starts


def without_costs(row):
    return {k: v for k, v in row.items() if not k.startswith(("seconds", "peak", "joules", "campaign"))}


@pytest.fixture
def three(data, test_data, new_model):
    return [campaign(function, 1, data, test_data, new_model) for function in (Random(), Margin(), BADGE())]


def test_a_seed_fixes_all_but_the_choice(three, data, test_data, new_model):
    first, *others = three
    answers = {}
    for records, rows, starts in three:
        for point in [*records.selections, *records.validation]:
            assert answers.setdefault(point.index, point.label) == point.label
        assert len(starts) == len(rows) == 3
    assert any(answers[i] != int(data.labels[i]) for i in answers), "the oracle is a noisy one"
    for records, rows, starts in others:
        assert [p for p in records.selections if p.round == 0] == [p for p in first[0].selections if p.round == 0]
        assert records.validation == first[0].validation
        assert [p.index for p in records.selections] != [p.index for p in first[0].selections]
        # The first round is the same, to the last digit: initial weights, order of batches, augmentation, dropout.
        assert without_costs(rows[0]) == without_costs(first[1][0])
        for mine, theirs in zip(starts, first[2], strict=True):
            assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    one, two = first[2][0], first[2][1]
    assert any(not torch.equal(one[name], two[name]) for name in one), "each round starts from new weights"
    other, *_ = campaign(Random(), 2, data, test_data, new_model)
    assert other.validation != first[0].validation and other.selections[:12] != first[0].selections[:12]
