"""Digits of numbers on the command line."""

import pytest

from dal.config.overrides import compose
from dal.errors import DalError

MANY = "9" * 5000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", MANY),
        ("seed", f"-{MANY}"),
        ("seed", f"1,{MANY}"),
        ("seed", f"range({MANY})"),
        ("seed", f"{{a: {MANY}}}"),
        ("campaign.budget", MANY),
        ("model.lr", f"1.{MANY}"),
        ("trainer.devices", MANY),
    ],
)
def test_numbers_of_thousands_of_digits_are_one_sentence(key, value):
    with pytest.raises(DalError, match=rf"^{key}: expected at most 1000 digits, got 500[01]\.$"):
        compose([f"{key}={value}"])


@pytest.mark.parametrize("value", ["３０", "-３０", "３.５", "1e３", "'３０'", "range(３)", "٣"])
def test_numbers_have_ascii_digits(value):
    with pytest.raises(DalError, match=r"^campaign\.budget: expected the digits 0 to 9, got "):
        compose([f"campaign.budget={value}"])


@pytest.mark.parametrize("text", ["３０", "9" * 2000])
def test_text_settings_may_have_any_digits(text):
    assert compose([f"run_dir={text}"])["run_dir"] == text


def test_numbers_in_ascii_digits_stay_as_they_are():
    assert compose(["campaign.budget=30", "model.lr=1e-3", "seed=1_0"])["seed"] == 10
