import pytest

from dal.costs.prices import (
    PricesConfig,
    counts_flops,
    human,
    of_phases,
    parse_prices,
    phases_of,
    total_flops,
    total_joules,
    total_seconds,
    without_testing,
)
from dal.errors import DalError

ROW = {
    "round": 1,
    "test_accuracy": 0.5,
    "num_validation": 7,
    "updates": 9,
    "samples_forward_test": 100,
    "flops_forward_train": 1,
    "flops_backward_train": 20,
    "flops_forward_test": 300,
    "flops_forward_score": 4000,
    "flops_draws_score": 3999,  # a part of the one above
    "flops_select": 50000,
    "seconds_train": 1.0,
    "seconds_test": 0.5,
    "joules_train": 10.0,
    "joules_test": 2.0,
}


def test_the_draws_are_counted_once_and_testing_can_be_left_out():
    assert total_flops(ROW) == 54321
    method = without_testing(ROW)
    assert (total_flops(method), total_seconds(method), total_joules(method)) == (54021, 1.0, 10.0)
    assert (method["test_accuracy"], method["num_validation"]) == (0.5, 7)


def test_the_phases_of_a_row_add_up_to_it():
    assert phases_of(ROW) == ["test", "train", "score", "select"]
    parts = [of_phases(ROW, [phase]) for phase in phases_of(ROW)]
    assert [total_flops(part) for part in parts] == [300, 21, 4000, 50000]
    assert sum(map(total_seconds, parts)) == total_seconds(ROW)


def test_old_rows_count_no_flops():
    assert counts_flops(ROW)
    assert not counts_flops({"seconds_train": 1.0, "samples_forward_train": 3})


def test_money_by_hand():
    prices = PricesConfig(label=0.5, gpu_hour=3.0, kwh=0.25)
    # 10 labels, two devices for half an hour, 2 kWh
    assert prices.cost(labels=10, seconds=1800, devices=2, joules=7.2e6) == pytest.approx(5 + 3 + 0.5)
    assert not PricesConfig(accuracy_point=5.0).known


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["runs"], "prices: expected NAME=NUMBER, such as label=0.1, got 'runs'."),
        (["label="], "prices: expected NAME=NUMBER, such as label=0.1, got 'label='."),
        (["labels=1"], "prices: expected one of currency, gpu_hour, kwh, label, got 'labels' (did you mean label?)."),
        (["label=cheap"], "prices.label: expected a number from 0, got 'cheap'."),
        (["label=-1"], "prices.label: expected a number from 0, or null, got -1.0."),
        (["label=nan"], "prices.label: expected a number from 0, or null, got nan."),
        (["label=1", "label=2"], "prices: expected one label, got 'label=1 and label=2'."),
        (["currency=EUR"], "prices: expected a price, such as label=0.1, got 'currency=EUR'."),
    ],
)
def test_prices_that_are_none_are_refused(settings, sentence):
    with pytest.raises(DalError) as error:
        parse_prices(settings)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 "),
        (7, "7.00 "),
        (999, "999 "),
        (999.6, "1.00 k"),
        (12_345, "12.3 k"),
        (10**12, "1.00 T"),
        (3e28, "30000 Y"),
    ],
)
def test_human_numbers_have_three_digits(number, text):
    assert human(number) == text
