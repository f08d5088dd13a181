"""The stop set: fixed points whose predictions are followed from round to round. Their labels are never asked for, nor
read: stopping rules need the predictions alone (Bloodgood and Vijay-Shanker, CoNLL 2009)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dal.labeling.pool import Pool
from dal.runtime.seeding import generator
from dal.tasks import CLASSIFICATION, Task


def stop_set(pool: Pool, size: int, seed: int) -> Tensor:
    """(min(size, M),) int64 random ones of the M points that are or were candidates: the same whatever was labeled.

    >>> pool = Pool(size=100, num_classes=2)
    >>> before = stop_set(pool, 10, seed=0)
    >>> pool.label([5, 7], [0, 1], round=0)
    >>> torch.equal(stop_set(pool, 10, seed=0), before)
    True
    """
    points = torch.cat([pool.labeled, pool.unlabeled]).sort().values
    return points[torch.randperm(len(points), generator=generator(seed, "stop_set"))[:size]].sort().values


def stop_set_facts(logits: Tensor, task: Task = CLASSIFICATION) -> dict[str, Any]:
    """(S, C) logits to what the journal keeps: the predicted classes, and the mean entropy over its largest possible
    value, from 0 to 1.

    >>> stop_set_facts(torch.tensor([[1.0, 1.0], [1000.0, 0.0]]))
    {'stop_predictions': [0, 0], 'stop_uncertainty': 0.5}
    """
    return {"stop_predictions": task.predictions(logits), "stop_uncertainty": task.uncertainty(logits)}
