import pytest

from dal.errors import DalError
from dal.stopping import CampaignConfig


def config(**changes):
    return CampaignConfig(**({"initial_size": 10, "budget": 1000} | changes))


@pytest.mark.parametrize("metric", ["test_acuracy", "test_recall", "training_stopped", "test_loss"])
def test_a_metric_that_cannot_be_a_target(metric):
    with pytest.raises(DalError, match=f"campaign.target_metric: expected one of test_accuracy, .*got '{metric}'"):
        config(target=0.8, target_metric=metric)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial_size": 0}, "campaign.initial_size: expected at least 1, got 0."),
        ({"query_size": 0}, "campaign.query_size: expected at least 1, got 0."),
        ({"budget": 0}, "campaign.budget: expected at least 1, got 0."),
        ({"validation_size": -1}, "campaign.validation_size: expected at least 0, got -1."),
        ({"growth": 0.5}, "campaign.growth: expected a number from 1, got 0.5."),
        ({"growth": float("nan")}, "campaign.growth: expected a number from 1, got nan."),
        ({"plateau_delta": float("nan")}, "campaign.plateau_delta: expected a number from -10, got nan."),
        ({"stop_set_size": -1}, "campaign.stop_set_size: expected at least 0, got -1."),
        ({"kappa": 1.1}, "campaign.kappa: expected a number above 0 to 1, or null, got 1.1."),
        ({"kappa": 0}, "campaign.kappa: expected a number above 0"),
        ({"kappa_rounds": 1}, "campaign.kappa_rounds: expected at least 2, got 1."),
        ({"max_change": 1.01}, "campaign.max_change: expected a share from 0 to 1, or null, got 1.01."),
        ({"max_uncertainty": -0.1}, "campaign.max_uncertainty: expected a share from 0 to 1, or null, got -0.1."),
        (
            {"max_uncertainty": float("nan")},
            "campaign.max_uncertainty: expected a share from 0 to 1, or null, got nan.",
        ),
        ({"stop_set_size": 0, "kappa": 0.9}, "campaign.stop_set_size: expected at least 1 for campaign.kappa, got 0."),
        (
            {"stop_set_size": 0, "max_change": 0.0},
            "campaign.stop_set_size: expected at least 1 for campaign.max_change",
        ),
        (
            {"stop_set_size": 0, "max_uncertainty": 0.0},
            "campaign.stop_set_size: expected at least 1 for campaign.max_u",
        ),
        (
            {"cost_optimum": True, "max_rounds": 3},
            "campaign.max_rounds: expected at least 4, or null, for campaign.cost_optimum, got 3.",
        ),
        ({"max_rounds": 0}, "campaign.max_rounds: expected at least 1, or null, got 0."),
        ({"plateau_rounds": 0}, "campaign.plateau_rounds: expected at least 1, or null, got 0."),
        (
            {"initial": "balance"},
            "campaign.initial: expected one of balanced, kmeans, random, typiclust, got 'balance' (did you mean",
        ),
        (
            {"initial_size": 90, "validation_size": 20, "budget": 100},
            "campaign.budget: expected at least the 110 initial and validation labels, got 100.",
        ),
    ],
)
def test_refused(changes, message):
    with pytest.raises(DalError) as error:
        config(**changes)
    assert str(error.value).startswith(message)
