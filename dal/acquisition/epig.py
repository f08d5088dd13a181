"""EPIG: label points that are most informative about predictions on target points."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    check_num_draws,
    check_query_size,
    top_scores,
)
from dal.acquisition.search.flops import add_flops
from dal.acquisition.search.numbers import check_finite, check_whole, in_double, normalized_log_probs, row_blocks
from dal.acquisition.search.rows import Rows, ready
from dal.acquisition.search.shards import Shard
from dal.errors import bad_value

__all__ = ["EPIG", "epig_scores"]

_BLOCK = 2**17  # numbers; a block stays in a core's cache between the product and its logarithm


def epig_scores(log_probs: Tensor, target_log_probs: Tensor) -> Tensor:
    """Compute the expected predictive information gain of each point (arXiv:2304.08151).

    It is the mutual information of the point's label and the label of a target point, averaged over the target points.
    The joint probability of two labels is the mean over the draws of the product of their probabilities. Draw k must
    therefore be the same network for all points and targets. The computation uses blocks of fixed size.

    Args:
        log_probs: (N, K, C) for N points, K draws of the network and C classes, any floating dtype, in nats; -inf is
            a probability of 0. Logits are accepted too.
        target_log_probs: (T, K, C) for T >= 1 target points, which represent the inputs that the network will predict.
            A point can be its own target; the target then represents a similar point, whose label is separate.

    Returns:
        (N,) float64 in nats, from 0 (the label is uninformative about the targets) to the smaller of ln K and ln C.

    Raises:
        DalError: a shape is invalid, K is 1, or there are no targets.
        NonFiniteError: a row holds NaN or +inf, or only -inf.

    >>> opposite, unsure = [[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]
    >>> points = torch.tensor([opposite, unsure]).log()
    >>> epig_scores(points, points)
    tensor([0.3466, 0.0000], dtype=torch.float64)
    """
    check_dims("log_probs", log_probs, "N, K, C")
    check_dims("target_log_probs", target_log_probs, "T, K, C")
    if log_probs.shape[1] < 2 or log_probs.shape[2] < 1:
        raise bad_value("log_probs", "at least 2 draws and one class", tuple(log_probs.shape))
    if target_log_probs.shape[1:] != log_probs.shape[1:] or not len(target_log_probs):
        expected = f"at least one target with {log_probs.shape[1]} draws of {log_probs.shape[2]} classes"
        raise bad_value("target_log_probs", expected, tuple(target_log_probs.shape))
    num_draws = log_probs.shape[1]
    with torch.inference_mode():
        return _scores(ready(log_probs.flatten(1)), ready(target_log_probs.flatten(1)), num_draws)


@dataclass(frozen=True, eq=False)
class Targets:
    """(T, K C) log-probabilities of target points.

    Instances compare by identity, so functions with different targets are never equal.
    """

    rows: Tensor

    def __repr__(self) -> str:
        return f"<{len(self.rows)} of them>"


@dataclass(frozen=True)
class EPIG(ShardedFunction):
    """Selects the highest ``epig_scores`` first; keeps K C numbers per point.

    Each query draws new target points, either from the pool or from the points passed to with_target_points(), which
    ``scoring.target_points`` names. Labeled points are never targets.

    Args:
        num_draws: Networks drawn by Monte Carlo dropout, at least 2.
        num_targets: Target points drawn per query; all of them if there are fewer.
    """

    keeps: ClassVar[tuple[str, ...]] = ("log_probs",)
    needs_dropout: ClassVar[bool] = True
    uses_target_points: ClassVar[bool] = True

    num_draws: int = 20
    num_targets: int = 100
    targets: Targets | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_num_draws(self.num_draws)
        check_whole("num_targets", self.num_targets, most=100_000)

    def with_target_points(self, points: Summary) -> EPIG:
        rows = points["log_probs"]
        if not len(rows):
            raise bad_value("targets", "at least one target point", 0)
        given = replace(self)
        object.__setattr__(given, "targets", Targets(rows))
        return given

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        log_probs = model.mc_log_probs(x, self.num_draws)
        normalized_log_probs("log_probs", log_probs)
        return {"log_probs": log_probs.flatten(1)}

    def select_in(
        self,
        shard: Shard,
        pool: KeptRows,
        labeled: Summary,
        query_size: int,
        generator: torch.Generator,
    ) -> Selection:
        # Rows on disk are not loaded at once. Each is read once, block by block.
        rows = (pool if shard.group is None else shard.gather(pool))["log_probs"]
        check_query_size(query_size, len(rows))
        possible: Rows = rows if self.targets is None else self.targets.rows
        drawn = torch.randperm(len(possible), generator=generator)[: self.num_targets].sort().values
        targets = possible[drawn.to(possible.device)]
        with torch.inference_mode():
            scores = _scores(ready(rows), ready(targets), self.num_draws)
        return top_scores(scores, query_size, generator)


def _scores(rows: Rows, target_rows: Rows, num_draws: int) -> Tensor:
    """Compute ``epig_scores`` for flattened rows of K C numbers."""
    num_targets, num_classes = len(target_rows), rows.shape[1] // num_draws
    scores = torch.zeros(len(rows), dtype=torch.float64)
    targets = _probs("target_log_probs", target_rows, slice(0, num_targets), num_draws)
    for block in row_blocks(len(rows), rows.shape[1], _BLOCK):
        scores[block] = _of_points(_probs("log_probs", rows, block, num_draws), targets).cpu()
    add_flops(2 * len(rows) * num_targets * num_draws * num_classes**2)
    return scores


def _of_points(probs: Tensor, targets: Tensor) -> Tensor:
    """Return (B,) scores for (B, K, C) and (T, K, C) probabilities."""
    (count, num_draws, num_classes), num_targets = probs.shape, len(targets)
    total = probs.new_zeros(count)
    few_targets = max(1, _BLOCK // (8 * num_classes**2))
    for some in torch.split(targets, few_targets):
        columns = some.permute(1, 2, 0).reshape(num_draws, -1) / num_draws
        for block in row_blocks(count, num_classes * columns.shape[1], _BLOCK):
            joint = probs[block].transpose(1, 2).reshape(-1, num_draws) @ columns
            # The clamp makes 0 log 0 evaluate to 0.
            joint.mul_(joint.clamp(min=1e-300).log_())
            total[block] += joint.sum(dim=1).view(-1, num_classes).sum(dim=1)
    entropies: Tensor = torch.special.entr(probs.mean(dim=1)).sum(dim=1)
    of_targets: Tensor = torch.special.entr(targets.mean(dim=1)).sum(dim=1).mean()
    # Only rounding makes a score negative.
    return (entropies + of_targets + total / num_targets).clamp_(min=0)


def _probs(argument: str, rows: Rows, block: slice, num_draws: int) -> Tensor:
    """Return (B, K, C) float64 probabilities of a block of rows."""
    found = in_double(rows[block])
    probs = found.reshape(len(found), num_draws, -1).softmax(dim=2)
    check_finite(argument, probs, block.start, len(rows))
    return probs
