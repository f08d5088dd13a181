import pytest

from dal.errors import DalError
from dal.stopping import CampaignConfig, next_query_size, plateaued, reason_to_stop


def rows(*accuracies, bought=100):
    return [{"test_accuracy": a, "test_loss": 1.0, "labels_bought": bought, "seconds_train": 1.0} for a in accuracies]


def config(**changes):
    return CampaignConfig(**({"initial_size": 10, "budget": 1000} | changes))


def test_nothing_stops_a_campaign_that_can_go_on():
    limits = config(target=0.9, plateau_rounds=2, max_rounds=4)
    assert reason_to_stop(limits, rows(0.1, 0.2, 0.3), num_unlabeled=5) is None
    assert reason_to_stop(config(), [{"labels_bought": 999}], 1) is None


@pytest.mark.parametrize(
    ("changes", "accuracies", "bought", "num_unlabeled", "reason"),
    [
        ({"target": 0.9}, (0.95, 0.9), 100, 5, "target"),
        ({"target": 0.9}, (0.95, 0.89), 100, 5, None),
        ({"plateau_rounds": 2}, (0.5, 0.5, 0.5), 100, 5, "plateau"),
        ({"plateau_rounds": 2}, (0.5, 0.5), 100, 5, None),
        ({"plateau_rounds": 1, "plateau_delta": 0.1}, (0.5, 0.59), 100, 5, "plateau"),
        ({"plateau_rounds": 1, "plateau_delta": 0.1}, (0.5, 0.61), 100, 5, None),
        ({"max_rounds": 2}, (0.5, 0.6), 100, 5, "rounds"),
        ({"max_rounds": 3}, (0.5, 0.6), 100, 5, None),
        ({}, (0.5,), 100, 0, "pool_empty"),
        ({}, (0.5,), 1000, 5, "budget"),
        ({}, (0.5,), 999, 5, None),
    ],
)
def test_each_reason(changes, accuracies, bought, num_unlabeled, reason):
    assert reason_to_stop(config(**changes), rows(*accuracies, bought=bought), num_unlabeled) == reason


def test_of_several_reasons_the_first_in_order_is_told():
    reasons = []
    limits = {"target": 0.4, "plateau_rounds": 1, "max_rounds": 2}
    for name in [*limits, None]:
        reasons.append(reason_to_stop(config(**limits), rows(0.5, 0.5, bought=1000), 0))
        limits.pop(name, None)
    assert reasons == ["target", "plateau", "rounds", "pool_empty"]
    assert reason_to_stop(config(), rows(0.5, bought=1000), 1) == "budget"


def test_a_plateau_is_over_the_best_before_not_the_last():
    assert plateaued([0.9, 0.1, 0.5], 1, 0.01)
    assert plateaued([0.9, 0.905, 0.1], 2, 0.01)
    assert not plateaued([0.1, 0.5, 0.3], 2, 0.01)
    assert not plateaued([], 2, 0.01)


def test_the_metric_is_the_one_that_was_named():
    by_loss = config(target=0.8, target_metric="test_balanced_accuracy")
    row = {"test_accuracy": 0.1, "test_balanced_accuracy": 0.85, "labels_bought": 1}
    assert reason_to_stop(by_loss, [row], 5) == "target"


@pytest.mark.parametrize("metric", ["test_acuracy", "test_recall", "training_stopped", "test_loss"])
def test_a_metric_that_cannot_be_a_target(metric):
    with pytest.raises(DalError, match=f"campaign.target_metric: expected one of test_accuracy, .*got '{metric}'"):
        config(target=0.8, target_metric=metric)


def test_a_metric_that_the_rows_do_not_have():
    with pytest.raises(DalError, match=r"campaign.target_metric: expected one of test_accuracy, .*got 'val_accuracy'"):
        reason_to_stop(config(target=0.8, target_metric="val_accuracy"), rows(0.5), 5)


def test_a_target_without_a_test_set():
    with pytest.raises(DalError, match=r"expected one of the metrics of a test set, got 'test_accuracy'\.$"):
        reason_to_stop(config(target=0.8), [{"labels_bought": 5}], 5)


@pytest.mark.parametrize(
    ("round", "bought", "num_unlabeled", "size"),
    [
        (0, 0, 500, 10),
        (1, 10, 500, 40),
        (1, 980, 500, 20),
        (1, 10, 7, 7),
        (3, 1000, 7, 0),
        (3, 1001, 7, 0),
        (2, 5, 0, 0),
    ],
)
def test_a_query_fits_budget_and_pool(round, bought, num_unlabeled, size):
    assert next_query_size(config(query_size=40), [{}] * round, bought, num_unlabeled) == size


def test_queries_grow_from_the_second_on():
    growing = config(query_size=10, growth=1.5)
    assert [growing.size_of_query(r) for r in range(5)] == [10, 10, 15, 23, 34]


def test_a_whole_campaign_spends_the_budget_to_the_last_label():
    growing, bought, sizes = config(query_size=30, growth=2, budget=333, validation_size=20), 20, []
    while size := next_query_size(growing, [{}] * len(sizes), bought, 10_000):
        sizes.append(size)
        bought += size
    assert sizes == [10, 30, 60, 120, 93]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial_size": 0}, "campaign.initial_size: expected at least 1, got 0."),
        ({"query_size": 0}, "campaign.query_size: expected at least 1, got 0."),
        ({"budget": 0}, "campaign.budget: expected at least 1, got 0."),
        ({"validation_size": -1}, "campaign.validation_size: expected at least 0, got -1."),
        ({"growth": 0.5}, "campaign.growth: expected at least 1, got 0.5."),
        ({"max_rounds": 0}, "campaign.max_rounds: expected at least 1, or null, got 0."),
        ({"plateau_rounds": 0}, "campaign.plateau_rounds: expected at least 1, or null, got 0."),
        ({"initial": "balance"}, "campaign.initial: expected one of balanced, random, got 'balance' (did you mean"),
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
