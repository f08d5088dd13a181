"""Every number of every configuration has a range."""

import math
from dataclasses import MISSING, fields

import pytest

from dal.acquisition.registry import registry as functions
from dal.costs.prices import PricesConfig
from dal.data.sets.registry import registry as data_sets
from dal.errors import DalError
from dal.labeling.oracle import OracleConfig
from dal.models import ModelConfig
from dal.runs.diagnosis import DiagnosisConfig
from dal.scoring.candidates import CandidatesConfig
from dal.scoring.config import ScoringConfig
from dal.scoring.dense.pooling import Pooling
from dal.scoring.limit import UnitOptions
from dal.stopping import CampaignConfig
from dal.training import TrainingConfig

SECTIONS = [
    PricesConfig,
    OracleConfig,
    ModelConfig,
    CandidatesConfig,
    ScoringConfig,
    CampaignConfig,
    TrainingConfig,
    DiagnosisConfig,
    Pooling,
    UnitOptions,
    *data_sets().values(),
    *functions().values(),
]
MEANINGFUL = {("CampaignConfig", "plateau_delta", -1), ("CampaignConfig", "growth", 10**15)}
"""A negative gain lets the metric fall by that much, and the second query of a huge growth buys all that is left."""
BAD = [math.inf, -math.inf, math.nan, -1, 10**15, 10**400, "3", True]


def numbers():
    for section in SECTIONS:
        for field in fields(section):
            words = {word.strip() for word in str(field.type).split("|")}
            if field.init and words & {"int", "float"}:
                yield pytest.param(section, field, id=f"{section.__name__}.{field.name}")


@pytest.mark.parametrize(("section", "field"), numbers())
def test_a_number_out_of_range_is_one_sentence(section, field):
    for value in BAD:
        if (section.__name__, field.name, value) in MEANINGFUL:
            section(**{field.name: value})
            continue
        with pytest.raises(DalError, match=field.name) as caught:
            section(**{field.name: value})
        assert "\n" not in str(caught.value) and ": expected " in str(caught.value)
    assert field.default is not MISSING
    section(**{field.name: field.default})


def test_the_walk_sees_the_sections():
    assert len(list(numbers())) > 60
    assert {section for section in SECTIONS if hasattr(section, "ranges")} >= set(data_sets().values())


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (ModelConfig, {"lr": 30.0, "weight_decay": 0.0, "momentum": 0.0, "input_size": 1024, "ensemble_size": 20}),
        (TrainingConfig, {"patience": 10**9, "max_updates": 10**7, "min_updates": 0, "target_train_accuracy": 2.0}),
        (CampaignConfig, {"budget": 10**9, "max_rounds": None, "target": 1.0, "growth": 1, "plateau_delta": 0}),
        (PricesConfig, {"label": 0, "gpu_hour": 2.5, "kwh": None}),
        (data_sets()["digits"], {"copies": 100, "imbalance_factor": 1, "copy_noise": 0, "max_train": None}),
        (functions()["bald"], {"num_draws": 1000}),
        (functions()["bait"], {"regularization": 1e-9}),
    ],
)
def test_numbers_in_use_are_accepted(section, values):
    section(**values)
