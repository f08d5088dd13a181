"""Options of any spelling: a configuration or one sentence, soon."""

import random
import warnings
from dataclasses import fields, is_dataclass
from math import isfinite

import pytest

from dal.config.overrides import check_overrides, compose, quoted
from dal.config.schema import Built, build
from dal.errors import DalError
from dal.sweep.grid import expand

KEYS = ["seed", "run_dir", "data", "acquisition", "compute", "experiment", "benchmark", "model", "trainer", "campaign"]
KEYS += ["campaign.budget", "campaign.target", "model.lr", "model.backbone", "model.input_size", "training.batch_size"]
KEYS += ["data.copies", "data.max_train", "oracle.noise", "prices.label", "scoring.memory_budget", "trainer.devices"]
KEYS += ["trainer.foo", "nope", "model.nope", "hydra.run.dir", "hydra/launcher", "data.name", "training.rewind", ""]
VALUES = ["1", "0", "-1", "3.5", "inf", "nan", "1e400", "null", "true", "abc", "", "''", "[1,2]", "{a: 1}", "1,2", "~"]
VALUES += ["${seed}", "${nope}", "${oc.env:HOME}", "${model}", "${run_dir}", "${", "$", "range(3)", "range(1,1e15)"]
VALUES += ["range(1,999999999999)"]
VALUES += ["shuffle(range(99999999999))", "choice(1,2)", "interval(0,1)", "glob(*)", "sort(3,1)"]
VALUES += ["digits", "bald", "a=b", "'x", '"', "\\", "[", "}", "\x1b[1m", "9" * 30, "a b", "x:y", "@", "int(3)", "é"]
SIGNS = ["", "", "", "", "+", "++", "~"]
MARKS = "=${}[](),'\"~+.:@/ \\x1\t"


def spelling(rng):
    text = f"{rng.choice(SIGNS)}{rng.choice(KEYS)}={rng.choice(VALUES)}"
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(["", rng.choice(MARKS)]) + text[at + rng.choice([0, 1]) :]
    return text


def finite_numbers(made):
    for field in fields(made):
        value = getattr(made, field.name)
        if is_dataclass(value):
            yield from finite_numbers(value)
        elif isinstance(value, float):
            yield isfinite(value)


def test_any_spelling_is_a_configuration_or_one_sentence():
    rng = random.Random(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(8):
            text = spelling(rng)
            try:
                built = build(compose([text]))
            except DalError as error:
                assert "\n" not in str(error), text
                continue
            assert isinstance(built, Built) and built.run_dir.strip() and all(finite_numbers(built)), text


@pytest.mark.parametrize(
    "text",
    [
        "campaign.budget=${oc.env:HOME}",
        "run_dir=${nope}",
        "run_dir=${run_dir}",
        "run_dir=",
        "model.lr=${model}",
        "model.lr=${nope:}",
        "model=${training}",
        "~data",
        "~model",
        "~seed",
        "+campaign.foo=1",
        "+data._target_=os.system",
        "+acquisition.foo=1",
        "data.name=cifar10",
        "acquisition.name=bald",
        "hydra=null",
        "=1",
        "acquisition=glob(*)",
        "acquisition=range(1000000000)",
        "seed=shuffle(range(99999999999))",
        "model.input_size=1000000",
        "scoring.memory_budget=1e30TB",
        "seed=99999999999999999999",
    ],
)
def test_refused_in_one_sentence(text):
    with pytest.raises(DalError, match=r"^[\w.]+: expected ") as caught:
        build(compose([text]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["run_dir=${oc.env:HOME}/runs", "campaign.budget=${campaign.query_size}0", "~trainer.precision", "++seed=3"]
)
def test_what_fits_goes_on(text):
    build(compose([text]))


@pytest.mark.parametrize("sweep", ["seed=range(1,1000000000)", "seed=shuffle(range(99999999999))"])
def test_a_grid_without_end_is_refused(sweep):
    with pytest.raises(DalError, match="seed: expected at most 10000 values"):
        check_overrides([sweep])


def test_a_grid_of_too_many_runs_is_refused():
    with pytest.raises(DalError, match="overrides: expected a grid of at most 10000 runs"):
        expand(["seed=range(200)", "model.lr=range(1,200)", "run_dir=${seed}${model.lr}"])


def test_quoting_never_fails():
    for value in ["'", "\\", "${", "\n", "\udce9", "a" * 10_000]:
        assert len(quoted([f"run_dir={value}"])) == 1
