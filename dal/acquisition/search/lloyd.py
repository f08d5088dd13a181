"""k-means in float32: greedy k-means++ seeding, then Lloyd's iterations.

Sums of points are float64. Only points that change their cluster are added and subtracted, because most do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dal.acquisition.search.flops import add_flops
from dal.acquisition.search.geometry import Euclidean
from dal.acquisition.search.numbers import block_values, row_blocks

_MOST_ITERATIONS = 300
_TOLERANCE = 1e-4
_BLOCK = 2**18
_FEW_NUMBERS, _MANY_NUMBERS = 2**16, 2**20


def lloyd(points: Euclidean, num_clusters: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cluster points by k-means from one greedy k-means++ start.

    The iterations end if no point changes its cluster, or if the centers move by less than a ten-thousandth of the
    variance, as in scikit-learn. A cluster that loses all points keeps its center. The function holds one float32 copy
    of the points and blocks that are small beside it.

    Args:
        points: N points on the CPU.
        num_clusters: from 1 to N.
        generator: on the CPU; draws the seeds.

    Returns:
        (N,) int64 nearest center of each point, and (num_clusters, D) float32 centers as in ``points.low``.
    """
    with _one_thread():
        x = all_low(points)
        sizes = torch.linalg.vector_norm(x, dim=1).square_()
        centers = _seeds(x, sizes, num_clusters, generator)
        # The origin is near the mean of the points, so the mean of the squares is about the sum of the variances.
        tolerance = _TOLERANCE * float(sizes.double().mean()) / max(1, points.width)
        labels = torch.full((len(x),), -1)
        sums, counts = centers.new_zeros(centers.shape, dtype=torch.float64), torch.zeros(num_clusters)
        for _ in range(_MOST_ITERATIONS):
            found = _nearest(x, centers)
            changed = (found != labels).nonzero()[:, 0]
            if not len(changed):
                break
            _move(x, changed, labels, found, sums, counts)
            labels = found
            means = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), centers.double()).float()
            moved = float((means - centers).square().sum())
            centers = means
            if moved <= tolerance:
                labels = _nearest(x, centers)
                break
    return labels, centers


def all_low(points: Euclidean) -> Tensor:
    """Return the (N, D) float32 points relative to the origin."""
    x = torch.empty(len(points), points.width)
    for block in row_blocks(len(points), points.width, block_values(x.numel(), _FEW_NUMBERS)):
        x[block] = points.low(block).factors[0]
    return x


def _seeds(x: Tensor, sizes: Tensor, num_clusters: int, generator: torch.Generator) -> Tensor:
    """Draw centers by greedy k-means++ (Arthur and Vassilvitskii, 2007).

    Of a few points, each drawn with probability proportional to its squared distance to the nearest center, the one
    that decreases the sum of these distances most becomes the next center.
    """
    num_trials = 2 + int(math.log(num_clusters))
    chosen = torch.randint(len(x), (1,), generator=generator)
    nearest, room = torch.full_like(sizes, torch.inf), x.new_empty(num_trials, len(x))
    picks = [chosen]
    add_flops(2 * len(x) * x.shape[1] * (1 + num_trials * (num_clusters - 1)))
    while True:
        squares = room[: len(chosen)]
        for block in row_blocks(len(x), x.shape[1], _BLOCK):  # a product of all would copy all points
            torch.addmm(sizes[block], x[chosen], x[block].T, alpha=-2, out=squares[:, block])
        torch.minimum(squares.add_(sizes[chosen, None]).clamp_(min=0), nearest, out=squares)
        squares[torch.arange(len(chosen)), chosen] = 0
        best = int(squares.sum(dim=1, dtype=torch.float64).argmin()) if len(chosen) > 1 else 0
        nearest.copy_(squares[best])
        picks[-1] = chosen[best : best + 1]
        if len(picks) == num_clusters:
            return x[torch.cat(picks)]
        cumulative = nearest.cumsum(dim=0, dtype=torch.float64)
        targets = torch.rand(num_trials, generator=generator, dtype=torch.float64) * cumulative[-1]
        chosen = torch.searchsorted(cumulative, targets, right=True).clamp_(max=len(x) - 1)
        picks.append(chosen)


def _nearest(x: Tensor, centers: Tensor) -> Tensor:
    """Return the (N,) nearest center of each point; ties go to the lowest."""
    add_flops(2 * len(x) * len(centers) * x.shape[1])
    half, found = centers.square().sum(dim=1) / 2, torch.empty(len(x), dtype=torch.int64)
    room: Tensor | None = None
    for block in row_blocks(len(x), len(centers), _BLOCK):
        room = x.new_empty(block.stop, len(centers)) if room is None else room
        values = torch.addmm(half, x[block], centers.T, alpha=-1, out=room[: block.stop - block.start])
        # NumPy finds the places of minima faster than PyTorch.
        values.numpy().argmin(axis=1, out=found[block].numpy())
    return found


def _move(x: Tensor, changed: Tensor, before: Tensor, after: Tensor, sums: Tensor, counts: Tensor) -> None:
    """Add the changed points to the sums and counts of their new clusters, and subtract them from the old ones."""
    for block in row_blocks(len(changed), x.shape[1], _MANY_NUMBERS):
        rows = changed[block]
        for some, clusters, sign in ((rows, after, 1), (rows[before[rows] >= 0], before, -1)):
            for part in row_blocks(len(some), x.shape[1], _FEW_NUMBERS // 2):
                places = clusters[some[part]]
                sums.index_add_(0, places, x[some[part]].double(), alpha=sign)
                counts.index_add_(0, places, torch.ones(len(places)), alpha=sign)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run on one thread, because several can add in other orders and change the last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
