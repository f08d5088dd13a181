"""What the next round is expected to cost, and what its gain is worth.

Optimal stopping: labels are bought as long as their expected benefit exceeds their cost (arXiv:0708.1242; Kapoor,
Horvitz and Basu, IJCAI 2007). Here it is decided for a whole round, with its compute, and the benefit comes from the
fitted learning curve. It looks one round ahead and no further.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dal.costs.forecast import fit_learning_curve
from dal.costs.prices import PricesConfig
from dal.runs.round import Round

ROUNDS_OF_COMPUTE = 3


def next_round_cost(rows: Sequence[Round], query_size: int, prices: PricesConfig) -> float:
    """Money for the labels of the next query and for the compute of the round after it.

    The compute is the mean of the last 3 rounds after the first, which scored no pool.

    >>> rows = [Round({"seconds_train": s, "devices": 2}) for s in (9.0, 1800.0, 3600.0)]
    >>> next_round_cost(rows, 100, PricesConfig(label=0.1, gpu_hour=2.0))
    13.0
    """
    recent = rows[1:][-ROUNDS_OF_COMPUTE:]
    compute = [prices.compute(row.method, row.devices) for row in recent]
    return prices.cost(labels=query_size) + (float(np.mean(compute)) if compute else 0.0)


def next_round_worth(rows: Sequence[Round], accuracy: Sequence[float], query_size: int, prices: PricesConfig) -> float:
    """Money that the next round's gain in accuracy is worth, by prices.accuracy_point.

    ``accuracy``, (R,) shares, is the watched metric of the R rows. The gain is the mean over the sampled learning
    curves (see dal.costs.forecast), in training labels. So an unsure forecast neither stops a campaign nor keeps it
    alive: the decision is the one of a buyer who wants the most money on average. Since no sampled curve falls, a few
    rounds of noise do not make the gain negative.
    """
    labels = [row.num_labeled for row in rows]
    gain, _, _ = fit_learning_curve(labels, accuracy).gain(labels[-1], labels[-1] + query_size)
    return 100 * gain * (prices.accuracy_point or 0)
