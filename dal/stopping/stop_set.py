"""The stop set: fixed points whose predictions are compared across rounds.

Stopping rules need only the predictions, so the labels of these points are neither requested nor read (Bloodgood and
Vijay-Shanker, CoNLL 2009).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dal.labeling.pool import Pool
from dal.runtime.seeding import generator
from dal.tasks import CLASSIFICATION, Task


def stop_set(pool: Pool, size: int, seed: int) -> Tensor:
    """Return the points of the stop set, (min(size, M),) int64.

    They are drawn at random from the M labeled and unlabeled points, so they do not depend on which are labeled.

    >>> pool = Pool(size=100, num_classes=2)
    >>> before = stop_set(pool, 10, seed=0)
    >>> pool.label([5, 7], [0, 1], round=0)
    >>> torch.equal(stop_set(pool, 10, seed=0), before)
    True
    """
    points = torch.cat([pool.labeled, pool.unlabeled]).sort().values
    return points[torch.randperm(len(points), generator=generator(seed, "stop_set"))[:size]].sort().values


def stop_set_facts(logits: Tensor, task: Task = CLASSIFICATION) -> dict[str, Any]:
    """Return the facts about the stop set that the journal records.

    These are the predicted classes of the (S, C) logits and the mean entropy divided by its maximum, from 0 to 1.

    >>> stop_set_facts(torch.tensor([[1.0, 1.0], [1000.0, 0.0]]))
    {'stop_predictions': [0, 0], 'stop_uncertainty': 0.5}
    """
    return {"stop_predictions": task.predictions(logits), "stop_uncertainty": task.uncertainty(logits)}
