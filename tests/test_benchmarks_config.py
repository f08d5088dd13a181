"""The presets of configs/benchmark: each builds for digits and says how to run it, and does what its head says."""

import re

import pytest
import torch

from dal.config.folder import config_folder
from dal.config.overrides import compose
from dal.config.schema import build
from dal.data import load
from dal.errors import DalError
from dal.labeling.oracle import NoisyOracle
from dal.stopping import check_sizes
from dal.tasks.base import OUT_OF_CLASS

FOLDER = config_folder() / "benchmark"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def built(name, *overrides):
    return build(compose([f"benchmark={name}", *overrides]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("experiment", ["digits", "fashion_mnist"])
def test_it_builds_and_keeps_data_and_model_of_the_experiment(name, experiment):
    config, plain = compose([f"benchmark={name}", f"experiment={experiment}"]), compose([f"experiment={experiment}"])
    assert config["run_dir"] == f"runs/{name}/{experiment}/margin/seed0" and config["benchmark"] == name
    assert config["model"] == plain["model"] and config["data"]["name"] == experiment
    assert config["compute"] == "early_stopping" and config["candidates"]["kind"] == "all"
    assert config["campaign"]["growth"] == 1, "queries of one size, so that runs can be compared"
    build(config)


@pytest.mark.parametrize("name", NAMES)
def test_its_head_has_a_command_that_can_be_pasted_and_a_source(name):
    head = (FOLDER / f"{name}.yaml").read_text()
    (command,) = re.findall(r"# Command:   dal run --multirun (.*)", head)
    assert f"benchmark={name}" in command and ("arXiv:" in head or "KDD" in head)
    assert "seed=range" not in head.replace("'seed=range", ""), "a shell wants quotes"
    assert "# Pool:" in head


def test_the_regimes_of_the_literature_are_there():
    budgets = {"low_budget", "medium_budget", "high_budget"}
    assert budgets | {"imbalanced", "noisy_oracle", "redundant_pool", "out_of_distribution"} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_digits_are_enough_for_all_but_a_high_budget(name):
    one = built(name, "experiment=digits")
    splits = load(one.data)
    pool = len(one.oracle_for(splits).answerable())
    if name == "high_budget":
        with pytest.raises(DalError, match=r"campaign\."):
            check_sizes(one.campaign, pool)
    else:
        check_sizes(one.campaign, pool)
        assert pool > one.campaign.budget


def test_what_the_pools_are():
    train = load(built("redundant_pool").data).train
    assert len(train) == 3 * 1297 and train.ids[1297] == f"{train.ids[0]}#1"
    counts = load(built("imbalanced").data).train.labels.bincount()
    assert int(counts.sum()) == 439 and round(float(counts.max() / counts.min())) in range(19, 23)
    one = built("out_of_distribution")
    splits = load(one.data)
    assert splits.train.num_classes == 6 and int((splits.train.labels == OUT_OF_CLASS).sum()) > 500
    assert set(one.oracle_for(splits)(range(200))) == {*range(6), OUT_OF_CLASS}
    one = built("noisy_oracle")
    splits = load(one.data)
    oracle = one.oracle_for(splits)
    answers = torch.tensor(oracle(range(1297)))
    assert isinstance(oracle, NoisyOracle)
    assert 0.15 < float((answers != splits.train.labels).float().mean()) < 0.25


def test_a_benchmark_comes_after_an_experiment_and_before_overrides():
    config = compose(["benchmark=low_budget", "experiment=cifar10", "campaign.budget=70"])
    assert config["compute"] == "early_stopping" and config["campaign"]["budget"] == 70
    assert config["campaign"]["initial_size"] == 10 and config["data"]["name"] == "cifar10"
    with pytest.raises(DalError, match=r"benchmark: expected one of .* got 'low'"):
        compose(["benchmark=low"])
