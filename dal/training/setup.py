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
"""(L,) int64 indices and the labels of these points."""


@dataclass(frozen=True)
class Logs:
    """Settings for the logs of a round.

    dal writes TensorBoard events to ``folder``, unless it is None. The steps of the user's loggers continue from
    ``steps_before``, the updates of earlier rounds. Their entries contain the number of the ``round``.
    """

    folder: Path | None = None
    steps_before: int = 0
    round: int | None = None

    def of_final_model(self) -> Logs:
        """Return these settings for the final model, which has no round."""
        return replace(self, round=None, folder=self.folder and self.folder.with_name("final_model"))


@dataclass(frozen=True)
class TrainingSetup:
    """The model with its passes, the training settings, and the seed.

    ``trainer_options`` are the options of Lightning's Trainer (accelerator, devices, strategy, precision, logger,
    callbacks, ...). ``datamodule`` is the LightningDataModule that the data come from, or None.
    """

    passes: ModelPass
    config: TrainingConfig = field(default_factory=TrainingConfig)
    trainer_options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    logs: Logs = Logs()
    datamodule: Any = None
