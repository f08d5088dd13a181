"""Training setup that all rounds share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from dal.scoring.model_pass import ModelPass
from dal.training.config import TrainingConfig

Points = tuple[Tensor, Tensor]
"""(L,) int64 indices and their labels."""


@dataclass(frozen=True)
class TrainingSetup:
    """The model with its passes, how it trains, and the seed.

    ``trainer_options`` are those of Lightning's Trainer (accelerator, devices, strategy, precision, logger, callbacks,
    ...).
    """

    passes: ModelPass
    config: TrainingConfig = field(default_factory=TrainingConfig)
    trainer_options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
