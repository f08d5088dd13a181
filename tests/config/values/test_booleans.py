"""Settings that are true or false take a word, and nothing else."""

import pytest

from dal.config.overrides import check_overrides, compose
from dal.config.schema import build
from dal.errors import DalError
from dal.models import ModelConfig
from dal.scoring.config import ScoringConfig

KEY = "model.freeze_backbone"


@pytest.mark.parametrize(
    ("word", "value"),
    [("true", True), ("YES", True), ("on", True), ("False", False), ("no", False), ("Off", False), ("'yes'", True)],
)
def test_a_word_sets_it(word, value):
    assert compose([f"{KEY}={word}"])["model"]["freeze_backbone"] is value
    assert compose([f"+trainer.benchmark={word.strip(chr(39))}"])["trainer"]["benchmark"] is value


@pytest.mark.parametrize(
    "value", ["5", "1", "0", "-1", "1.0", "'5'", "int(true)", "y", "abc", "[true]", "''", "${seed}"]
)
def test_anything_else_is_refused(value):
    written = [f"{KEY}={value}"]
    if value in ("5", "''"):  # the other forms take the same check
        written += [f"++{KEY}={value}", f"model={{freeze_backbone: {value}}}"]
    for text in written:
        with pytest.raises(DalError, match=rf"^{KEY}: expected true or false, got|^model: expected ") as caught:
            compose([text])
        assert "\n" not in str(caught.value)


def test_every_value_of_a_sweep_is_checked():
    check_overrides([f"{KEY}=true,false,no"])
    with pytest.raises(DalError, match=f"{KEY}: expected true or false, got 5"):
        check_overrides([f"{KEY}=true,5"])


def test_null_and_references_go_on():
    assert compose(["scoring.channels_last=null"])["scoring"]["channels_last"] is None
    assert compose(["campaign.cost_optimum=true", f"{KEY}=${{campaign.cost_optimum}}"])["model"]["freeze_backbone"]


def test_a_function_with_a_boolean():
    assert build(compose(["acquisition=variation_ratios", "acquisition.votes=no"])).acquisition.votes is False
    with pytest.raises(DalError, match=r"acquisition\.votes: expected true or false, got 3"):
        compose(["acquisition=variation_ratios", "acquisition.votes=3"])


@pytest.mark.parametrize("value", [5, 1, 0, 1.0, "yes", None])
def test_the_library_takes_booleans_only(value):
    with pytest.raises(DalError, match=r"model\.freeze_backbone: expected true or false, got"):
        ModelConfig(freeze_backbone=value)
    if value is not None:
        with pytest.raises(DalError, match=r"scoring\.channels_last: expected true, false or null, got"):
            ScoringConfig(channels_last=value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed=3.0", "seed: expected a whole number, got 3.0"),
        ("seed=1e2", "seed: expected a whole number, got 1e2"),
        ("seed=[5]", "seed: expected a whole number, got [5]"),
        ("model.lr=[0.1]", "model.lr: expected a number, got [0.1]"),
        ("model.lr=true", "model.lr: expected a number, got true"),
        ("model.backbone=[a]", "model.backbone: expected a text, got [a]"),
        ("model.optimizer=null", "model.optimizer: expected a value other than null, got null"),
        ("seed=", "seed: expected a whole number, got ''"),
        ("model.lr=" + "9" * 400, "model.lr: expected a finite number, got"),
        ("scoring.memory_budget=" + "9" * 400, "scoring.memory_budget: expected a size"),
        ("scoring.disk_folder=" + "9" * 5000, "scoring.disk_folder: expected an existing, writable folder"),
        ("acquisition=" + "9" * 5000 + ".py", "acquisition: expected an existing Python file"),
        ("acquisition=~nobody_at_all/f.py", "acquisition: expected an existing Python file"),
    ],
)
def test_other_types_are_refused(text, message):
    with pytest.raises(DalError) as caught:
        build(compose([text]))
    assert str(caught.value).startswith(message) and len(str(caught.value)) < 700


def test_a_number_in_quotes_is_the_number():
    assert compose(["seed='5'", "model.lr='0.1'"])["seed"] == 5
