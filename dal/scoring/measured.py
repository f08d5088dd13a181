"""Metrics of a model on points with labels or masks."""

from __future__ import annotations

import torch
from torch import Tensor

from dal.acquisition.base import Summary
from dal.acquisition.search.rows import all_rows
from dal.data.images import ImageData
from dal.data.targets import MaskTargets
from dal.errors import bad_value
from dal.models.adapted.scoring_model import ScoringModel
from dal.runtime.seeding import generator
from dal.scoring.dense.unit_rows import PixelLogits
from dal.scoring.model_pass import Charge, ModelPass
from dal.scoring.observer import Following
from dal.tasks import IGNORED, Metrics
from dal.tasks.mask_tally import MaskTally, pixel_rows
from dal.tasks.own_metrics import OwnMetrics

Points = tuple[Tensor, Tensor]
"""(N,) int64 indices of points, and their labels."""

_MOST_PIXELS = 4096
"""Maximum number of pixels of a stop set, unless it has more points."""


def measured(passes: ModelPass, data: ImageData, points: Points, phase: str, own: OwnMetrics | None = None) -> Metrics:
    """Return the metrics of the task and ``own`` metrics on points, in one pass that is charged to ``phase``.

    Raises DalError without points, and the errors of ModelPass.run().
    """
    indices, labels = points
    if not data.task.is_dense:
        logits = passes.logits(data, indices, phase)
        found = data.task.metrics(logits, labels)
        return found if own is None else Metrics(found | own(logits, labels))
    if not len(indices):
        raise bad_value(phase, "at least one image with a mask", 0)
    targets = MaskTargets(data, indices)
    tallied = _Tallied(targets, data.num_classes, own)
    rows = passes.run(data, targets.images, tallied, phase, charge=Charge("logits"))
    found = tallied.tally.metrics(*(all_rows(rows[name]) for name in ("losses", "counts")))
    return found if own is None else Metrics(found | own.computed())


def value_and_loss(passes: ModelPass, data: ImageData, points: Points, phase: str) -> tuple[float, float]:
    """Return the primary metric of the task and the mean loss on points."""
    task = data.task
    if task.is_dense:
        metrics = measured(passes, data, points, phase)
        return metrics[task.primary_metric], metrics.loss
    logits = passes.logits(data, points[0], phase)
    return task.value(logits, points[1]), float(task.loss(logits.double(), points[1]))


def followed_logits(passes: ModelPass, data: ImageData, points: Tensor, phase: str, seed: int) -> Tensor:
    """Return the (S, C) logits of points, or of some pixels of each unit, the same in each round."""
    if not data.task.is_dense:
        return passes.logits(data, points, phase)
    size = max(1, min(int(data.units.pixels.max()), _MOST_PIXELS // len(points)))
    draws = torch.rand(len(points), size, generator=generator(seed, "stop_pixels"), dtype=torch.float64)
    reduce = PixelLogits(data, points, draws)
    rows = passes.run(data, reduce.images, reduce, phase, charge=Charge("logits"))
    return all_rows(reduce.in_order(rows)["logits"]).flatten(0, 1)


class _Tallied(Following):
    """Adds the logits of each tile to a tally."""

    def __init__(self, targets: MaskTargets, num_classes: int, own: OwnMetrics | None) -> None:
        super().__init__()
        self._targets, self._num_classes, self._own = targets, num_classes, own
        self.start()

    def start(self) -> None:
        self.tally = MaskTally(self._num_classes)
        if self._own is not None:
            self._own.reset()

    def __call__(self, view: ScoringModel, x: Tensor) -> Summary:
        logits = view.logits(x)
        if self.first is None:
            units = self._targets.data.units
            masks = torch.full((len(x), units.height, units.width), IGNORED, dtype=torch.uint8)
            return MaskTally(self._num_classes).update(logits, masks)
        masks = self._targets.masks(self._targets.images[self.first : self.first + self.valid].tolist())
        logits = logits[: self.valid]
        if self._own is not None and self._own.metrics:
            rows, classes = pixel_rows(logits, masks)
            is_known = (classes != IGNORED).to(rows.device)
            self._own.update(rows[is_known], classes.to(rows.device)[is_known])
        return self.tally.update(logits, masks)
