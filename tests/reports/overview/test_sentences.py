import math

import pandas as pd
import pytest

from dal.reports.overview import target_sentences

NEVER, UNKNOWN = math.inf, math.nan


@pytest.mark.parametrize(
    ("labels", "money", "forecast", "sentence"),
    [
        ((430.2, 410, 470), (43.0, 41.0, 47.0), False,
         "was reached with 431 labels (95 % interval: 410 to 470) and 43.00 EUR (41.00 to 47.00)."),
        ((430, UNKNOWN, UNKNOWN), (UNKNOWN,) * 3, False, "was reached with 430 labels."),
        ((430, 410, NEVER), (43.0, 41.0, NEVER), False,
         "was reached with 430 labels (95 % interval: 410 to more than 500) and 43.00 EUR (41.00 to more)."),
        ((1240, 900, 2300), (UNKNOWN,) * 3, True, "is forecast for 1,240 labels (95 % interval: 900 to 2,300)."),
        ((1240, 900, NEVER), (124.0, 90.0, NEVER), True,
         "is forecast for 1,240 labels (95 % interval: 900 to never) and 124.00 EUR (90.00 to never)."),
        ((1e30, 900, NEVER), (UNKNOWN,) * 3, True,
         "is forecast for more than a billion labels (95 % interval: 900 to never)."),
        ((NEVER, 900, NEVER), (NEVER, 90.0, NEVER), True,
         "is not reached by this curve (95 % interval: 900 labels to never)."),
        ((NEVER, NEVER, NEVER), (NEVER,) * 3, True, "is not reached by this curve."),
        ((UNKNOWN,) * 3, (UNKNOWN,) * 3, True, "was not reached, and two rounds or fewer allow no forecast."),
    ],
)  # fmt: skip
def test_a_sentence_for_every_outcome(labels, money, forecast, sentence):
    line = {"data": "digits", "acquisition": "margin", "settings": "query_size=10", "labels": 500, "currency": "EUR"}
    line |= {"target": 0.925, "forecast": forecast}
    for end, count, price in zip(("", "_low", "_high"), labels, money, strict=True):
        line |= {f"labels_to_target{end}": count, f"money_to_target{end}": price}
    assert target_sentences(pd.DataFrame([line])) == [f"digits, margin, query_size=10: 92.5 % {sentence}"]


def test_groups_without_a_target_have_no_sentence():
    assert target_sentences(pd.DataFrame([{"target": UNKNOWN}])) == []
