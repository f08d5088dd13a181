import pytest

from dal.costs.phases import Costs
from dal.costs.prices import PricesConfig, human, parse_prices
from dal.errors import DalError


def test_money_by_hand():
    prices = PricesConfig(label=0.5, gpu_hour=3.0, kwh=0.25)
    # 10 labels, two devices for half an hour, 2 kWh
    assert prices.cost(labels=10, seconds=1800, devices=2, joules=7.2e6) == pytest.approx(5 + 3 + 0.5)
    assert prices.compute(Costs(seconds=1800, joules=7.2e6), devices=2) == pytest.approx(3 + 0.5)
    assert prices.compute(Costs(seconds=1800)) == pytest.approx(1.5)
    assert not PricesConfig(accuracy_point=5.0).known


def test_the_time_of_people_adds_to_the_price_of_a_label():
    assert PricesConfig(label_hour=30).cost(labels=10, people_seconds=60) == pytest.approx(0.5)
    assert PricesConfig(label_hour=30, label=0.1).cost(labels=10, people_seconds=60) == pytest.approx(0.5 + 1)
    assert PricesConfig(label=0.1).cost(labels=10, people_seconds=60) == pytest.approx(1)
    assert PricesConfig(label_hour=0).known
    assert parse_prices(["label_hour=30"]) == PricesConfig(label_hour=30.0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["runs"], "prices: expected NAME=NUMBER, such as label=0.1, got 'runs'."),
        (["label="], "prices: expected NAME=NUMBER, such as label=0.1, got 'label='."),
        (
            ["labels=1"],
            "prices: expected one of currency, gpu_hour, kwh, label, label_hour, got 'labels' (did you mean label?).",
        ),
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
