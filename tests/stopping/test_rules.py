import pytest

from dal.costs.prices import PricesConfig
from dal.errors import DalError
from dal.runs.round import Round
from dal.stopping import CampaignConfig, check_metric, plateaued, reason_to_stop


def rows(*accuracies, bought=100):
    return [Round(test_accuracy=a, test_loss=1.0, labels_bought=bought, seconds_train=1.0) for a in accuracies]


def config(**changes):
    return CampaignConfig(**({"initial_size": 10, "budget": 1000} | changes))


def followed(*predictions, uncertainty=0.5, bought=100):
    """Rows of a campaign whose stop set was predicted like that."""
    facts = {"stop_uncertainty": uncertainty, "labels_bought": bought}
    return [Round(facts, round=r, stop_predictions=list(p), test_accuracy=0.5) for r, p in enumerate(predictions)]


def test_nothing_stops_a_campaign_that_can_go_on():
    limits = config(target=0.9, plateau_rounds=2, max_rounds=4)
    assert reason_to_stop(limits, rows(0.1, 0.2, 0.3), num_unlabeled=5) is None
    assert reason_to_stop(config(), [Round(labels_bought=999)], 1) is None


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


ABCD = [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "predictions", "reason"),
    [
        ({"kappa": 0.99}, (ABCD, ABCD, ABCD), "stable_predictions"),
        ({"kappa": 0.99}, (ABCD, ABCD), None),  # fewer than kappa_rounds
        ({"kappa": 0.99}, (ABCD, ABCD, [0, 1, 2, 0]), None),
        ({"kappa": 0.99}, ([0, 1, 2, 0], ABCD, ABCD, ABCD), "stable_predictions"),  # only the last three
        ({"kappa": 0.99, "kappa_rounds": 2}, (ABCD, ABCD), "stable_predictions"),
        ({"kappa": 0.99}, ([5] * 4, [5] * 4, [5] * 4), "stable_predictions"),
        # The pairs have 1, 0.5 and 0.5 (see test_agreement): 2/3.
        ({"kappa": 0.66}, ([0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 0]), "stable_predictions"),
        ({"kappa": 0.67}, ([0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 0]), None),
        ({"max_change": 0}, (ABCD, ABCD), "classification_change"),
        ({"max_change": 0}, (ABCD,), None),
        ({"max_change": 0.25}, (ABCD, [0, 1, 2, 0]), "classification_change"),
        ({"max_change": 0.24}, (ABCD, [0, 1, 2, 0]), None),
        ({"max_change": 0}, (ABCD, [0, 1, 2, 0], ABCD), None),  # back again is a change
        ({"max_uncertainty": 0.5}, (ABCD,), "certain"),
        ({"max_uncertainty": 0.49}, (ABCD,), None),
    ],
)
def test_rules_of_the_stop_set(changes, predictions, reason):
    assert reason_to_stop(config(**changes), followed(*predictions), 5) == reason


def test_of_several_reasons_the_first_in_order_is_told():
    limits = {"target": 0.4, "plateau_rounds": 1, "kappa": 0.9, "max_change": 0.1, "max_uncertainty": 0.6}
    limits |= {"cost_optimum": True, "max_rounds": 4}
    prices = PricesConfig(label=1.0, accuracy_point=0.01)
    rows = followed(ABCD, ABCD, ABCD, ABCD, bought=900)
    for number, row in enumerate(rows):
        row["num_labeled"] = 10 * number + 10
    reasons = []
    for name in list(limits):
        reasons.append(reason_to_stop(config(**limits), rows, 5, prices))
        limits.pop(name)
    assert reasons == [
        "target",
        "plateau",
        "stable_predictions",
        "classification_change",
        "certain",
        "cost_optimum",
        "rounds",
    ]
    rows[-1]["labels_bought"] = 1000
    assert reason_to_stop(config(), rows, 0) == "pool_empty"
    assert reason_to_stop(config(), rows, 1) == "budget"


def test_a_plateau_is_over_the_best_before_not_the_last():
    assert plateaued([0.9, 0.1, 0.5], 1, 0.01)
    assert plateaued([0.9, 0.905, 0.1], 2, 0.01)
    assert not plateaued([0.1, 0.5, 0.3], 2, 0.01)
    assert not plateaued([], 2, 0.01)


def test_the_metric_is_the_one_that_was_named():
    by_loss = config(target=0.8, target_metric="test_balanced_accuracy")
    row = Round(test_accuracy=0.1, test_balanced_accuracy=0.85, labels_bought=1)
    assert reason_to_stop(by_loss, [row], 5) == "target"


def test_a_metric_that_the_rows_do_not_have():
    with pytest.raises(DalError, match=r"campaign.target_metric: expected one of test_accuracy, .*got 'val_accuracy'"):
        reason_to_stop(config(target=0.8, target_metric="val_accuracy"), rows(0.5), 5)


def test_a_target_without_a_test_set():
    with pytest.raises(DalError, match=r"expected one of the metrics of a test set, got 'test_accuracy'\.$"):
        reason_to_stop(config(target=0.8), [Round(labels_bought=5)], 5)


@pytest.mark.parametrize(
    ("changes", "key", "rows"),
    [
        ({"kappa": 0.9, "kappa_rounds": 2}, "stop_predictions", [{"round": 0}, {"round": 1, "stop_predictions": [1]}]),
        ({"max_change": 0.1}, "stop_predictions", [{"round": 0, "stop_predictions": []}, {"stop_predictions": [1]}]),
        ({"max_uncertainty": 0.1}, "stop_uncertainty", [{"round": 0}]),
    ],
)
def test_rows_without_a_stop_set(changes, key, rows):
    with pytest.raises(DalError, match=f"campaign.stop_set_size: expected rounds with {key}, got round 0 without it"):
        reason_to_stop(config(**changes), list(map(Round, rows)), 5)


def test_a_certain_model_is_certain_at_exactly_zero():
    assert reason_to_stop(config(max_uncertainty=0), followed(ABCD, uncertainty=0.0), 5) == "certain"


@pytest.mark.parametrize("changes", [{"target": 0.9}, {"plateau_rounds": 2}, {"cost_optimum": True}])
@pytest.mark.parametrize(
    ("metric", "has_test", "validation_size", "measured"),
    [
        ("test_accuracy", True, 0, True),
        ("test_accuracy", False, 5, False),
        ("val_accuracy", False, 5, True),
        ("val_accuracy", True, 0, False),
    ],
)
def test_a_metric_that_nothing_measures_is_refused(changes, metric, has_test, validation_size, measured):
    prices = PricesConfig(label=1, accuracy_point=1)
    asked = config(target_metric=metric, validation_size=validation_size, **changes)
    if measured:
        check_metric(asked, has_test, prices)
        return
    with pytest.raises(DalError, match=r"campaign.target_metric: expected a metric that is measured"):
        check_metric(asked, has_test, prices)


def test_no_metric_is_needed_where_nothing_ends_on_it():
    check_metric(config(kappa=0.9, max_change=0.1, max_uncertainty=0.1), has_test=False)


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        (None, "prices.accuracy_point: expected a price for campaign.cost_optimum, got None."),
        (PricesConfig(label=1), "prices.accuracy_point: expected a price for campaign.cost_optimum, got None."),
        (
            PricesConfig(accuracy_point=1),
            "prices: expected a label, label_hour, gpu_hour or kwh price for campaign.cost_optimum, got none.",
        ),
    ],
)
def test_a_cost_optimum_without_prices_is_refused_before_it_starts_and_after_a_round(prices, message):
    asked = config(cost_optimum=True)
    for call in (lambda: check_metric(asked, True, prices), lambda: reason_to_stop(asked, rows(0.5), 5, prices)):
        with pytest.raises(DalError) as error:
            call()
        assert str(error.value) == message
