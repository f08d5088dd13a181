"""Expected cost of the next round, and the value of its gain.

Optimal stopping buys labels while their expected benefit exceeds their cost (arXiv:0708.1242; Kapoor, Horvitz and Basu,
IJCAI 2007). This module decides for a whole round, including its compute. The benefit comes from the fitted learning
curve, one round ahead.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dal.costs.forecast import fit_learning_curve
from dal.costs.prices import PricesConfig
from dal.runs.round import Round

ROUNDS_OF_COMPUTE = 3


def next_round_cost(rows: Sequence[Round], query_size: int, prices: PricesConfig) -> float:
    """Return the cost of the next round, which includes labels, the time of people, and compute.

    The compute is the mean of the last 3 rounds. The first round is excluded because it scores no pool. A label takes
    people the mean time of all labels so far.

    >>> rows = [Round({"seconds_train": s, "devices": 2}) for s in (9.0, 1800.0, 3600.0)]
    >>> next_round_cost(rows, 100, PricesConfig(label=0.1, gpu_hour=2.0))
    13.0
    """
    recent = rows[1:][-ROUNDS_OF_COMPUTE:]
    compute = [prices.compute(row.method, row.devices) for row in recent]
    seconds = sum(row.annotator_seconds or 0 for row in rows)
    people = query_size * seconds / rows[-1].labels_bought if seconds else 0
    return prices.cost(labels=query_size, people_seconds=people) + (float(np.mean(compute)) if compute else 0.0)


def next_round_worth(rows: Sequence[Round], accuracy: Sequence[float], query_size: int, prices: PricesConfig) -> float:
    """Return the value of the next round's gain in accuracy at prices.accuracy_point.

    ``accuracy``, (R,) shares, is the monitored metric of the R rows. The gain is the mean over the sampled learning
    curves, as functions of the training labels (see dal.costs.forecast). The mean maximizes the expected value, so an
    uncertain forecast alone neither stops a campaign nor extends it. No sampled curve falls, so a few noisy rounds do
    not make the gain negative.
    """
    labels = [row.num_labeled for row in rows]
    gain, _, _ = fit_learning_curve(labels, accuracy).gain(labels[-1], labels[-1] + query_size)
    return 100 * gain * (prices.accuracy_point or 0)
