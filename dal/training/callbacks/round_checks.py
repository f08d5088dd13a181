"""Looks at losses of single points at some moments of a round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch.nn.functional as F

from dal.runtime.progress import silent
from dal.scoring.model_pass import ModelPass
from dal.scoring.observer import WithinRound
from dal.training.trainer.structure import Structure


class RoundChecks(pl.Callback):
    """Calls ``look`` with the number of updates at equal distances, and after the last of ``max_updates``.

    A round that ends early has fewer moments.
    """

    def __init__(
        self, num_checks: int, max_updates: int, look: Callable[[int], None], count: Callable[[pl.Trainer], int]
    ) -> None:
        self.moments = {-(-max_updates * k // num_checks) for k in range(1, num_checks + 1)}
        self.look, self.count = look, count
        self._updates = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        updates = self.count(trainer)
        if updates == self._updates:  # gradients are still being accumulated
            return
        self._updates = updates
        if updates in self.moments:
            self.look(updates)


def look_within(passes: ModelPass, within: WithinRound, structure: Structure) -> Callable[[int], None]:
    """Return the function that records the losses of all points of ``within``.

    It changes neither the module nor the random state of training.
    """
    # Keep the model on the Trainer's device.
    watching = replace(passes, device=None, on_progress=silent)

    def look(updates: int) -> None:
        with passes.ledger.phase("diagnose"), structure.uncompiled():
            before = passes.ledger.costs["diagnose"].total_flops if "diagnose" in passes.ledger.costs else 0
            for points in within.groups:
                logits = watching.logits(points.data, points.indices, "diagnose").cpu().double()
                points.losses.append(F.cross_entropy(logits, points.labels, reduction="none"))
                points.right.append(logits.argmax(dim=1) == points.labels)
            within.updates.append(updates)
            within.flops += passes.ledger.costs["diagnose"].total_flops - before

    return look
