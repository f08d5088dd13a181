"""Learning-rate rewinding: a warm round takes its schedule up where a share of it is over (arXiv:2003.02389)."""

from __future__ import annotations

import warnings

import pytorch_lightning as pl


class ScheduleRewind(pl.Callback):
    """Moves the schedulers that step with every update so many steps on, before the first one. Those that step with
    every epoch stay, as an epoch of dal is no measure of a schedule, and those that follow a metric."""

    def __init__(self, skipped: int) -> None:
        self.skipped = skipped

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for config in trainer.lr_scheduler_configs:
            if config.interval != "step" or config.reduce_on_plateau:
                continue
            with warnings.catch_warnings():
                # No update was made yet, and none is forgotten.
                warnings.filterwarnings("ignore", message="Detected call of .lr_scheduler.step")
                for _ in range(self.skipped):
                    config.scheduler.step()  # type: ignore[call-arg]
