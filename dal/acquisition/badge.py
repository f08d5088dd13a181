"""BADGE: label points with large, diverse gradients (k-means++ on gradients)."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import (
    KeptRows,
    PoolModel,
    Selection,
    ShardedFunction,
    Summary,
    check_dims,
    check_query_size,
)
from dal.acquisition.search.errors import Scattered, errors_of
from dal.acquisition.search.exponential_race import draw_seed, exponentials, factor_bounds, uniforms, uniforms_of_draws
from dal.acquisition.search.geometry import Gradients
from dal.acquisition.search.nearest import CHUNK, Centers, NearestCenters
from dal.acquisition.search.numbers import check_finite, check_whole, normalized_log_probs, row_blocks, safe_scale
from dal.acquisition.search.rows import Rows, check_rows, ready
from dal.acquisition.search.shards import Shard
from dal.acquisition.search.small_pool import SmallPool, is_small
from dal.errors import bad_content, bad_value
from dal.runtime.precision import full_precision

__all__ = ["BADGE", "badge_select", "badge_weights"]


def badge_select(
    probs: Rows,
    features: Rows,
    query_size: int,
    generator: torch.Generator,
    *,
    memory_budget: int | None = None,
) -> Tensor:
    """Select by k-means++ seeding on last-layer gradients (arXiv:1906.03671).

    The loss takes the predicted class as true. The gradient of a point is g = (p - onehot(argmax p)) ⊗ h for class
    probabilities p and features h. It is never formed, because distances follow from inner products of its two factors.

    As in k-means++ (Arthur and Vassilvitskii, 2007), the first point is uniformly random. Each later point is drawn
    with probability proportional to its squared distance to the nearest selected point. (The BADGE authors' code starts
    with the largest gradient instead.) If all remaining points coincide with selected ones, the draw is uniform.

    The draws follow this distribution exactly. Earlier distances serve as upper bounds, and only the few points that
    these bounds do not rule out are compared by float64 distances. In addition to its inputs, the function holds about
    40 bytes per point, the selected points and blocks of fixed size.

    Args:
        probs: (N, C) class probabilities, any floating dtype; a tensor or DiskRows. float64 preserves the gradient
            lengths of very confident points; lower precision rounds their 1 - p to 0.
        features: (N, D) inputs of the last layer, any floating dtype; a tensor or DiskRows.
        query_size: Q, from 1 to N.
        generator: on the CPU; one number is drawn from it per selected point.
        memory_budget: maximum bytes held in addition to the inputs; None means no limit.

    Returns:
        (Q,) int64 on the CPU: distinct rows in the order of selection.

    Raises:
        DalError: a shape or ``query_size`` is invalid, a row of ``probs`` is not a distribution, or the budget is too
            small.
        NonFiniteError: a number is NaN or infinite.

    >>> probs = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.4, 0.6]])
    >>> badge_select(probs, torch.eye(3), 2, torch.Generator().manual_seed(0))
    tensor([2, 0])
    """
    _check(probs, features)
    probs, features = ready(probs), ready(features)
    shard = Shard.alone(len(probs), memory_budget)
    return _sample(errors_of(probs, features.device), features, query_size, generator, shard).positions


def badge_weights(probs: Rows, features: Rows, chosen: Sequence[int]) -> Tensor:
    """Compute the weights with which ``badge_select`` draws the point after ``chosen``.

    Args:
        probs: (N, C) class probabilities, any floating dtype.
        features: (N, D) inputs of the last layer, any floating dtype.
        chosen: rows selected so far, in any order; may be empty.

    Returns:
        (N,) float64: squared distances of the gradients to the nearest chosen one, or all 1 if ``chosen`` is empty.

    Raises:
        DalError: a shape is invalid, or a row of ``probs`` is not a distribution.
        NonFiniteError: a number is NaN or infinite.

    >>> badge_weights(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.ones(2, 3), [1])
    tensor([1.5000, 0.0000], dtype=torch.float64)
    """
    largest = _check(probs, features)
    rows = [operator.index(row) for row in chosen]
    for row in rows:
        if not 0 <= row < len(probs):
            raise bad_value("chosen", f"rows from 0 to {len(probs) - 1}", row)
    if not rows:
        return torch.ones(len(probs), dtype=torch.float64)
    probs, features = ready(probs), ready(features)
    gradients = Gradients(errors_of(probs, features.device), features, safe_scale(largest, most=1.0))
    with full_precision(features.device), torch.no_grad():
        centers = Centers(gradients, None, len(rows))
        for high in gradients.high(torch.tensor(rows, device=gradients.device)):
            centers.add(high)
        weights = NearestCenters(gradients, centers).distances(torch.arange(len(gradients), device=gradients.device))
    # Two divisions, because the square of a scale can exceed the range of float64.
    return weights.cpu() / gradients.scale / gradients.scale


@dataclass(frozen=True)
class BADGE(ShardedFunction):
    """Selects with ``badge_select``; keeps C + D float32 numbers per point.

    A point's score is the distance of its gradient to the nearest gradient selected before it. The square of that
    distance is the weight with which the point was drawn. The score of the first point is the length of its gradient.

    Args:
        top_classes: Number k of most probable classes to keep per point, at least 2; null keeps all. It keeps 2 k + D
            numbers per point, which helps if there are more classes than features. A gradient is then off by |h| times
            the root of the sum of p² over the omitted classes. That is at most 1 / (2 sqrt(k - 1)) of its length. The
            worst case is that all classes except the predicted one are equally probable.
    """

    keeps: ClassVar[tuple[str, ...]] = ("errors", "inputs")

    top_classes: int | None = None

    def __post_init__(self) -> None:
        if self.top_classes is not None:
            check_whole("top_classes", self.top_classes, 2, "None keeps all classes")
            object.__setattr__(self, "keeps", ("errors", "classes", "inputs"))

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        features = model.features(x)
        check_finite("features", features)
        probs = normalized_log_probs("logits", model.head(features)).exp()
        # 1 - p loses precision if p is near 1; the sum over the other classes does not.
        predicted = probs.argmax(dim=1, keepdim=True)
        others = probs.scatter(1, predicted, 0)
        errors = others.scatter(1, predicted, -others.sum(dim=1, keepdim=True))
        if self.top_classes is None:
            return {"errors": errors.float(), "inputs": features}
        # The predicted class has the largest error, so it is always kept.
        classes = errors.abs().topk(min(self.top_classes, errors.shape[1]), dim=1).indices
        return {"errors": errors.gather(1, classes).float(), "classes": classes.float(), "inputs": features}

    def select_in(
        self,
        shard: Shard,
        pool: KeptRows,
        labeled: Summary,
        query_size: int,
        generator: torch.Generator,
    ) -> Selection:
        errors = ready(pool["errors"])
        if self.top_classes is not None:
            errors = Scattered(errors, ready(pool["classes"]), shard)
        return _sample(errors, ready(pool["inputs"]), query_size, generator, shard)


def _check(probs: Rows, features: Rows) -> float:
    """Return the largest feature; raise DalError for invalid inputs of badge_select."""
    check_dims("probs", probs, "N, C")
    check_dims("features", features, "N, D")
    if probs.shape[1] < 1:
        raise bad_value("probs", "at least one class", 0)
    if len(probs) != len(features):
        raise bad_value("features", f"{len(probs)} rows, as in probs", len(features))
    for block in row_blocks(*probs.shape):
        p = probs[block]
        check_finite("probs", p, block.start, len(probs))
        # The tolerance allows for half precision. The check is meant to catch logits.
        is_bad = ((p.sum(dim=1, dtype=torch.float32) - 1).abs() > 0.02) | (p < 0).any(dim=1)
        if bool(is_bad.any()):
            row = int(is_bad.nonzero()[0])
            found = f"a sum of {float(p[row].sum()):g} and a minimum of {float(p[row].min()):g}"
            raise bad_content("probs", "rows of probabilities that sum to 1", f"{found} at row {block.start + row}")
    return check_rows("features", features)


def _sample(errors: Rows, features: Rows, query_size: int, generator: torch.Generator, shard: Shard) -> Selection:
    check_query_size(query_size, shard.total)
    with shard.agreed():
        check_rows("logits", errors, shard.offset, shard.total)
        largest = check_rows("features", features, shard.offset, shard.total)
        shard.check_memory(errors.shape[1] + features.shape[1], query_size)
    gradients = Gradients(errors, features, safe_scale(shard.largest(largest), most=1.0))
    with full_precision(features.device), torch.inference_mode():
        if shard.group is None and is_small(gradients):
            positions, distances = _seed_few(gradients, query_size, generator)
        else:
            positions, distances = _Seeding(gradients, query_size, generator, shard).run()
    return Selection(torch.tensor(positions), torch.tensor(distances, dtype=torch.float64))


def _seed_few(points: Gradients, query_size: int, generator: torch.Generator) -> tuple[list[int], list[float]]:
    """Run k-means++ on gradients that fit in a cache."""
    pool = SmallPool(points)
    left = torch.ones_like(pool.upper)
    all_on_centers = False
    seeds = [draw_seed(generator) for _ in range(query_size)]
    for u in uniforms_of_draws(seeds, len(points), points.device):
        if pool.picks and not all_on_centers:
            key, position = pool.largest(*factor_bounds(u), partial(_race_key, u))
            all_on_centers = key <= 0
        if not pool.picks or all_on_centers:
            position = int((left / u).argmax())
        pool.take(position, is_center=not all_on_centers)
        left[position] = -1
    first = points.high(torch.tensor(pool.picks[:1], device=points.device))
    squares = pool.scores()
    squares[:1] = points.exact(first, torch.zeros_like(first))
    return pool.picks, (squares.sqrt() / points.scale).tolist()


def _race_key(u: Tensor, rows: Tensor, squares: Tensor) -> Tensor:
    return squares / exponentials(u[rows])


class _Seeding:
    """k-means++ on gradients, of which this process holds a part."""

    def __init__(self, points: Gradients, query_size: int, generator: torch.Generator, shard: Shard) -> None:
        self.points, self.query_size, self.generator, self.shard = points, query_size, generator, shard
        self.centers = Centers(points, None, query_size)
        self.nearest = NearestCenters(points, self.centers)
        self.left = torch.ones(len(points), dtype=torch.float64, device=points.device)
        self.all_on_centers = False
        self._up_to_date = self._looked_at = 0

    def run(self) -> tuple[list[int], list[float]]:
        """Return the positions in the order they are drawn, and their scores."""
        positions: list[int] = []
        distances: list[float] = []
        while len(positions) < self.query_size:
            square, position, row = self._next()
            positions.append(position)
            distances.append(math.sqrt(square) / self.points.scale)
            if not self.all_on_centers:
                self.centers.add(row)
        return positions, distances

    def _next(self) -> tuple[float, int, Tensor]:
        """Draw a point; return its squared score, its position and its factors."""
        u = uniforms(draw_seed(self.generator), self.shard.offset, len(self.points), self.points.device)
        if self.centers.count and not self.all_on_centers:
            key, position = self._draw_by_weight(u)
            self.all_on_centers = key <= 0
        if not self.centers.count or self.all_on_centers:
            position = self.shard.best(*_argmax(self.left / u))[1]
        here = position - self.shard.offset
        row = None
        if 0 <= here < len(self.points):
            rows = torch.tensor([here], device=self.points.device)
            row = self.points.high(rows)[0]
            if self.centers.count:
                square = self.nearest.squares[here]
            else:
                square = self.points.exact(row[None], torch.zeros_like(row[None]))[0]
            row = torch.cat([row, square[None]])
            self.nearest.take(here)
            self.left[here] = -1
        row = self.shard.from_owner(position, row, self.points.width + 1)
        return float(row[-1]), position, row[:-1]

    def _draw_by_weight(self, u: Tensor) -> tuple[float, int]:
        """Draw by weight; return the key and the position of the point.

        A key of 0 means that all weights are 0.
        """
        pending = self.centers.count - self._up_to_date
        if pending >= CHUNK or self._looked_at > 4 * pending or not self._up_to_date:
            self.nearest.lower_all(self.centers.count)
            self._up_to_date, self._looked_at = self.centers.count, 0

        def key_of(rows: Tensor, squares: Tensor) -> Tensor:
            self._looked_at += len(rows)
            return squares / exponentials(u[rows])

        return self.shard.best(*self.nearest.largest(self.nearest.squares / u, key_of))


def _argmax(values: Tensor) -> tuple[float, int]:
    return (float(values.max()), int(values.argmax())) if len(values) else (-torch.inf, 0)
