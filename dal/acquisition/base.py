"""The interface of acquisition functions: summarize a batch, select from summaries.

Sizes in shapes: N pool, B batch, K draws, C classes, D features, Q query size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from dal.acquisition.search.draw_sums import DrawSums
from dal.acquisition.search.highest import highest
from dal.acquisition.search.numbers import check_finite, check_whole, normalized_log_probs
from dal.acquisition.search.rows import Rows
from dal.acquisition.search.shards import Shard
from dal.errors import DalError, bad_content, bad_value

__all__ = [
    "AcquisitionFunction",
    "KeptRows",
    "PoolModel",
    "ScoreFunction",
    "Selection",
    "ShardedFunction",
    "Summary",
    "check_dims",
    "check_finite",
    "check_num_draws",
    "check_query_size",
    "check_summary",
    "check_whole",
    "normalized_log_probs",
    "top_scores",
]

Summary = dict[str, Tensor]
"""Tensors by name that a function keeps of points; the first dimension indexes points."""

KeptRows = Mapping[str, Rows]
"""A summary whose rows may be on disk."""

_OLD_NAMES = {
    "features_part": 'the name "features" in keeps',
    "features_alone": 'keeps = ("features",)',
    "keeps_draws": 'a name such as "log_probs" in keeps',
    "needs_labeled": "uses_labeled_points",
    "needs_labels": "learns_from_labels",
    "takes_targets": "uses_target_points",
    "with_targets": "with_target_points()",
}


class Selection(NamedTuple):
    """The selected points, in the order in which to label them."""

    positions: Tensor  # (Q,) int64, rows of the pool's summary
    scores: Tensor  # (Q,) float64, the score of each point when it was selected


class PoolModel(Protocol):
    """A trained network, always in eval mode and without gradient tracking."""

    def features(self, x: Tensor) -> Tensor:
        """Map (B, ...) images to (B, D) inputs of the last layer."""
        ...

    def head(self, features: Tensor) -> Tensor:
        """Map (B, D) features to (B, C) logits."""
        ...

    def mc_log_probs(self, x: Tensor, num_draws: int) -> Tensor:
        """Map (B, ...) images to (B, K, C) log-probabilities in nats.

        Draw k is the same network for the whole pool.
        """
        ...


@dataclass(frozen=True)
class AcquisitionFunction(ABC):
    """Chooses the points of the pool to label next.

    The dataclass fields are the parameters and the configuration. To make a class attribute depend on them, set it on
    the instance in ``__post_init__``.
    """

    keeps: ClassVar[tuple[str, ...]] = ()
    """The names of the tensors in a summary, in order.

    Two names are special. "features" are (N, D) inputs of the last layer that serve to compare points. Features of
    another network can replace them; a function that keeps only "features" then does not read the pool. "inputs" are
    inputs of the last layer that must come from the trained network, such as a factor of its gradient.

    For segmentation, a region has the pooled "scores" of its pixels, the most frequent class of "predicted" (N,) int64
    classes, and the mean of any other tensor.
    """

    needs_pass: ClassVar[bool] = True
    """Whether it reads the pool. If not, the tensors of all summaries have shape (N, 0) and convey only N."""

    needs_dropout: ClassVar[bool] = False
    """Whether it needs dropout draws. A network without dropout then raises an error at the start."""

    uses_labeled_points: ClassVar[bool] = False
    """Whether select() also receives the summary of the labeled points."""

    learns_from_labels: ClassVar[bool] = False
    """Whether it reads the labeled points first. with_labeled() then returns the function that reads the pool."""

    tasks: ClassVar[tuple[str, ...] | None] = ("classification",)
    """The tasks whose outputs it reads. None means every task; it then reads only features or nothing."""

    uses_target_points: ClassVar[bool] = False
    """Whether it selects for target points, which with_target_points() receives."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for old, expected in _OLD_NAMES.items():
            if hasattr(cls, old):
                raise DalError(f"{cls.__name__}.{old}: expected {expected}, got the old name.")

    @property
    def name(self) -> str:
        """The name on the command line: the name of the defining module."""
        return type(self).__module__.rpartition(".")[2]

    def at_round(self, round: int) -> AcquisitionFunction:
        """Return the function for the query after this round, such as one whose noise decays."""
        return self

    @abstractmethod
    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        """Reduce one batch, on its device, to the tensors named in ``keeps``.

        Each tensor has B rows.
        """

    def draw_sums(self) -> DrawSums | None:
        """Return new running sums from which the scores follow, or None if the function needs all draws at once.

        They serve images with many pixels, where all draws at once do not fit into memory. A subclass that overrides
        summarize() or score() but not this method is read by rows.
        """
        return None

    def site_summary(self, logits: Tensor) -> Summary | None:
        """Summarize the pixels of images from their logits, faster than summarize(), or return None.

        ``logits`` are (C, N) for N pixels. The numbers differ from those of summarize() by float32 rounding. A pixel
        with a logit of NaN or +inf, or with only -inf, gets NaN. A subclass that overrides summarize() or score() but
        not this method is read by rows.
        """
        return None

    def with_labeled(self, labeled: Summary, labels: Tensor) -> AcquisitionFunction:
        """Return the function that summarizes the pool and selects from it.

        Called if learns_from_labels is set. ``labeled`` is this function's summary of the labeled points, always from
        the network's own features. ``labels`` (L,) int64 are their classes, -2 for points without a class. Every
        process receives all of them. A field with ``init=False`` can hold what the function learns; it is not an option
        on the command line.
        """
        return self

    def with_target_points(self, points: Summary) -> AcquisitionFunction:
        """Return the function that selects for these target points.

        Called if uses_target_points is set and target points are given. ``points`` is this function's summary of them.
        Every process receives all of them.
        """
        return self

    @abstractmethod
    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        """Choose ``query_size`` distinct rows of ``pool``, best first.

        ``labeled`` is empty unless uses_labeled_points is set. The generator is on the CPU, regardless of the device of
        the summaries.
        """

    def select_in(
        self,
        shard: Shard,
        pool: KeptRows,
        labeled: Summary,
        query_size: int,
        generator: torch.Generator,
    ) -> Selection:
        """Select in several processes, each with a part of the pool.

        Every process returns what one process with the whole pool would return. ``pool`` holds the rows of
        ``shard.span``, possibly on disk. The returned positions index the whole pool. The generators of all processes
        are in the same state. This default loads all rows into memory, which is fine for scores.
        """
        return self.select(shard.gather(pool), labeled, query_size, generator)


@dataclass(frozen=True)
class ShardedFunction(AcquisitionFunction):
    """An acquisition function whose subclasses implement select_in() instead of select()."""

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        shard = Shard.alone(len(next(iter(pool.values()))))
        return self.select_in(shard, pool, labeled, query_size, generator)

    @abstractmethod
    def select_in(
        self,
        shard: Shard,
        pool: KeptRows,
        labeled: Summary,
        query_size: int,
        generator: torch.Generator,
    ) -> Selection: ...


@dataclass(frozen=True)
class ScoreFunction(AcquisitionFunction):
    """An acquisition function that scores each point independently.

    It selects the highest scores first and breaks ties with the generator.
    """

    keeps: ClassVar[tuple[str, ...]] = ("scores",)

    @abstractmethod
    def score(self, model: PoolModel, x: Tensor) -> Tensor:
        """Map (B, ...) images to (B,) scores; higher is more worth labeling."""

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        scores = self.score(model, x)
        is_tensor = isinstance(scores, Tensor)
        if not is_tensor or scores.shape != (len(x),) or scores.is_complex():
            got = f"{scores.dtype} of shape {tuple(scores.shape)}" if is_tensor else type(scores).__name__
            expected = f"a tensor of shape ({len(x)},), a score for each image of the batch"
            raise bad_value(f"{type(self).__name__}.score()", expected, got)
        return {"scores": scores}

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        scores = pool["scores"]
        check_query_size(query_size, len(scores))
        check_finite("scores", scores)
        return top_scores(scores, query_size, generator)


def top_scores(scores: Tensor, query_size: int, generator: torch.Generator) -> Selection:
    """Select the highest scores, best first.

    The generator draws the order of equal scores.

    >>> top_scores(torch.tensor([0.1, 0.9, 0.5]), 2, torch.Generator().manual_seed(0)).positions
    tensor([1, 2])
    """
    scores = scores.cpu().double()
    shuffled = torch.randperm(len(scores), generator=generator)
    positions = shuffled[highest(scores[shuffled], query_size)]
    return Selection(positions, scores[positions])


def check_summary(function: AcquisitionFunction, summary: object, num_rows: int | None = None) -> None:
    """Raise DalError unless ``summary`` holds the tensors named in ``keeps``.

    It must be a dict, and its tensors must have the same number of rows, ``num_rows`` if given.
    """
    argument, names = f"{type(function).__name__}.summarize()", ", ".join(function.keeps)
    if not isinstance(summary, dict):
        expected = 'a dict of the tensors named in keeps, such as {"features": features}'
        raise bad_value(argument, expected, type(summary).__name__)
    if not names or set(summary) != set(function.keeps):
        expected = f"tensors named as in keeps ({names or 'which is empty'})"
        raise bad_value(argument, expected, ", ".join(map(str, summary)) or "none")
    shapes = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in summary.values()]
    if not all(isinstance(part, Tensor) and part.ndim for part in summary.values()):
        raise bad_value(argument, f"tensors of B rows ({names})", shapes)
    if len({len(part) for part in summary.values()}) > 1:
        raise bad_value(argument, f"the same number of rows in each tensor ({names})", shapes)
    if num_rows is not None and shapes[0][0] != num_rows:
        raise bad_value(argument, f"{num_rows} rows, one for each image of the batch ({names})", shapes)


def check_query_size(query_size: int, num_candidates: int) -> None:
    """Raise DalError unless 1 <= query_size <= num_candidates."""
    if isinstance(query_size, bool) or not isinstance(query_size, int) or not 1 <= query_size <= num_candidates:
        expected = f"a whole number from 1 to {num_candidates} (the size of the pool)"
        raise bad_value("query_size", expected, query_size)


MOST_DRAWS = 10_000


def check_num_draws(num_draws: object) -> None:
    """Raise DalError for fewer than two draws, which cannot disagree, and for more than 10,000."""
    check_whole("num_draws", num_draws, 2, "one draw cannot disagree", MOST_DRAWS)


def check_dims(argument: str, values: Rows, names: str) -> None:
    """Raise DalError unless ``values`` is floating point with the given dimensions.

    ``names`` lists the dimensions, such as "N, C".

    >>> check_dims("logits", torch.zeros(3), "N, C")
    Traceback (most recent call last):
    dal.errors.DalError: logits: expected floating-point numbers of shape (N, C), got torch.float32 of shape (3,).
    """
    if not hasattr(values, "is_floating_point"):
        raise bad_value(argument, f"a tensor of shape ({names})", type(values).__name__)
    if values.ndim != len(names.split(",")) or not values.is_floating_point():
        got = f"{values.dtype} of shape {tuple(values.shape)}"
        raise bad_content(argument, f"floating-point numbers of shape ({names})", got)
