"""Training setup that all rounds share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from dal.scoring.model_pass import ModelPass
from dal.training.config import TrainingConfig

Points = tuple[Tensor, Tensor]
"""(L,) int64 indices and their labels."""


@dataclass(frozen=True)
class Logs:
    """Where and how a round is logged.

    ``folder`` takes dal's TensorBoard events; None writes none. The steps of the user's loggers follow
    ``steps_before``, the updates of earlier rounds, and their entries have the number of the ``round``.
    """

    folder: Path | None = None
    steps_before: int = 0
    round: int | None = None

    def of_final_model(self) -> Logs:
        """Return the same for the final model, which is of no round."""
        return replace(self, round=None, folder=self.folder and self.folder.with_name("final_model"))


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
    logs: Logs = Logs()
