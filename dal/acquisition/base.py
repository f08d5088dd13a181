"""The interface of acquisition functions: summarize a batch, select from summaries.

Shapes in the names: N pool, B batch, K draws, C classes, D features, Q query size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from dal.acquisition.search.numbers import check_finite, check_whole, normalized_log_probs
from dal.acquisition.search.rows import Rows
from dal.acquisition.search.shards import Shard
from dal.errors import DalError, bad_value

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
"""What a function keeps of some points: tensors by name, whose first dimension runs over the points."""

KeptRows = Mapping[str, Rows]
"""A summary whose rows may be on disk."""

_OLD_NAMES = {
    "features_part": 'the name "features" in keeps',
    "features_alone": 'keeps = ("features",)',
    "keeps_draws": 'a name such as "log_probs" in keeps',
    "needs_labeled": "uses_labeled_points, as it is called now",
    "needs_labels": "learns_from_labels, as it is called now",
    "takes_targets": "uses_target_points, as it is called now",
    "with_targets": "with_target_points(), as it is called now",
}


class Selection(NamedTuple):
    """An ordered choice: the first position is the one to label first."""

    positions: Tensor  # (Q,) int64, rows of the pool's summary
    scores: Tensor  # (Q,) float64, what the function thought of each when it took it


class PoolModel(Protocol):
    """A trained network as scoring sees it: always in eval mode, never tracking gradients."""

    def features(self, x: Tensor) -> Tensor:
        """(B, ...) images to (B, D), the input of the last layer."""
        ...

    def head(self, features: Tensor) -> Tensor:
        """(B, D) to (B, C) logits."""
        ...

    def mc_log_probs(self, x: Tensor, num_draws: int) -> Tensor:
        """(B, ...) images to (B, K, C) log-probabilities in nats; draw k is one network for the whole pool."""
        ...


@dataclass(frozen=True)
class AcquisitionFunction(ABC):
    """Chooses the points of the pool to label next.

    The dataclass fields are the parameters and the configuration. A class attribute that depends on them is set on the
    instance, in ``__post_init__``.
    """

    keeps: ClassVar[tuple[str, ...]] = ()
    """The names of the tensors of a summary, in order.

    Two names have a meaning: "features" are (N, D) inputs of the last layer by which points are compared, and features
    of another network can replace them. If a function keeps features alone, the pool is then not read. Inputs of the
    last layer that must be the network's own, such as a factor of its gradient, are "inputs".
    """

    needs_pass: ClassVar[bool] = True
    """Whether the pool must be read. Without it, the tensors of all summaries are (N, 0) and tell only N."""

    needs_dropout: ClassVar[bool] = False
    """Whether it asks the model for dropout draws, so that a network without dropout is refused at the start."""

    uses_labeled_points: ClassVar[bool] = False
    """Whether select() also gets the summary of the labeled points."""

    learns_from_labels: ClassVar[bool] = False
    """Whether the labeled points are read first. with_labeled() then returns the function that reads the pool."""

    tasks: ClassVar[tuple[str, ...] | None] = ("classification",)
    """The tasks whose outputs it reads. None where it reads features or nothing, and so works with every task."""

    uses_target_points: ClassVar[bool] = False
    """Whether it selects for target points, which with_target_points() receives."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for old, expected in _OLD_NAMES.items():
            if hasattr(cls, old):
                raise DalError(f"{cls.__name__}.{old}: expected {expected}, got the old name.")

    @property
    def name(self) -> str:
        """The name on the command line: that of the module which holds the class."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        """Reduce one batch, on its device, to the tensors of B rows that ``keeps`` names."""

    def with_labeled(self, labeled: Summary, labels: Tensor) -> AcquisitionFunction:
        """Return the function that summarizes the pool and selects from it; called if learns_from_labels is set.

        ``labeled`` is the summary of the labeled points by this function, always from the network's own features.
        ``labels`` (L,) int64 are their classes, -2 for points of no class. Every process gets all of them. A field with
        ``init=False``, which is no option of the command line, can hold what the function learns.
        """
        return self

    def with_target_points(self, points: Summary) -> AcquisitionFunction:
        """Return the function that selects for these points; called if uses_target_points is set and points are given.

        ``points`` is their summary by this function. Every process gets all of them.
        """
        return self

    @abstractmethod
    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        """Choose ``query_size`` distinct rows of ``pool``, best first.

        ``labeled`` is empty unless uses_labeled_points is set. The generator is on the CPU whatever device the
        summaries are on.
        """

    def select_in(
        self,
        shard: Shard,
        pool: KeptRows,
        labeled: Summary,
        query_size: int,
        generator: torch.Generator,
    ) -> Selection:
        """select() in several processes, each of which holds a part of the pool, perhaps on disk.

        Every process returns what one process with the whole pool returns. ``pool`` are the rows of ``shard.span``, the
        positions returned are in the whole pool, and the generators of all processes are equal. This default brings all
        rows into memory, which is fine for scores.
        """
        return self.select(shard.gather(pool), labeled, query_size, generator)


@dataclass(frozen=True)
class ShardedFunction(AcquisitionFunction):
    """An acquisition function that selects in shards: subclasses write select_in() instead of select()."""

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
    """An acquisition function that looks at each point alone: highest score first, ties by the generator."""

    keeps: ClassVar[tuple[str, ...]] = ("scores",)

    @abstractmethod
    def score(self, model: PoolModel, x: Tensor) -> Tensor:
        """(B, ...) images to (B,) scores, higher is more worth labeling."""

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        return {"scores": self.score(model, x)}

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        scores = pool["scores"]
        check_query_size(query_size, len(scores))
        check_finite("scores", scores)
        return top_scores(scores, query_size, generator)


def top_scores(scores: Tensor, query_size: int, generator: torch.Generator) -> Selection:
    """The highest scores, best first; equal scores come in a random order drawn from the generator.

    >>> top_scores(torch.tensor([0.1, 0.9, 0.5]), 2, torch.Generator().manual_seed(0)).positions
    tensor([1, 2])
    """
    scores = scores.cpu().double()
    shuffled = torch.randperm(len(scores), generator=generator)
    order = torch.sort(scores[shuffled], descending=True, stable=True).indices[:query_size]
    positions = shuffled[order]
    return Selection(positions, scores[positions])


def check_summary(function: AcquisitionFunction, summary: object) -> None:
    """Raise DalError unless ``summary`` is a dict of the tensors that ``keeps`` names, of one length."""
    argument, names = f"{type(function).__name__}.summarize()", ", ".join(function.keeps)
    if not isinstance(summary, dict):
        expected = 'a dict of the tensors that keeps names, such as {"features": features}'
        raise bad_value(argument, expected, type(summary).__name__)
    if not names or set(summary) != set(function.keeps):
        expected = f"tensors named as in keeps ({names or 'which is empty'})"
        raise bad_value(argument, expected, ", ".join(map(str, summary)) or "none")
    shapes = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in summary.values()]
    if not all(isinstance(part, Tensor) and part.ndim for part in summary.values()):
        raise bad_value(argument, f"tensors of B rows ({names})", shapes)
    if len({len(part) for part in summary.values()}) > 1:
        raise bad_value(argument, f"as many rows in each tensor ({names})", shapes)


def check_query_size(query_size: int, num_candidates: int) -> None:
    """Raise DalError unless 1 <= query_size <= num_candidates."""
    if isinstance(query_size, bool) or not isinstance(query_size, int) or not 1 <= query_size <= num_candidates:
        expected = f"a whole number from 1 to {num_candidates} (the points in the pool)"
        raise bad_value("query_size", expected, query_size)


MOST_DRAWS = 10_000


def check_num_draws(num_draws: object) -> None:
    """Raise DalError for fewer than two draws, which cannot disagree, and for more than 10,000."""
    check_whole("num_draws", num_draws, 2, "one draw cannot disagree", MOST_DRAWS)


def check_dims(argument: str, values: Rows, names: str) -> None:
    """Raise DalError unless ``values`` is floating point and has one dimension for each of ``names`` ("N, C").

    >>> check_dims("logits", torch.zeros(3), "N, C")
    Traceback (most recent call last):
    dal.errors.DalError: logits: expected floating-point numbers of shape (N, C), got 'torch.float32 of shape (3,)'.
    """
    if not hasattr(values, "is_floating_point"):
        raise bad_value(argument, f"a tensor of shape ({names})", type(values).__name__)
    if values.ndim != len(names.split(",")) or not values.is_floating_point():
        got = f"{values.dtype} of shape {tuple(values.shape)}"
        raise bad_value(argument, f"floating-point numbers of shape ({names})", got)
