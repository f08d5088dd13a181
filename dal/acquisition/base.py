"""What an acquisition function is: what to keep of a batch, and how to choose from what was kept.

Shapes in the names: N pool, B batch, K draws, C classes, D features, Q query size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from dal.acquisition.search.numbers import check_finite, check_whole, normalized_log_probs
from dal.acquisition.search.rows import Rows
from dal.acquisition.search.shards import Shard
from dal.errors import bad_value

__all__ = [
    "AcquisitionFunction",
    "PoolModel",
    "ScoreFunction",
    "Selection",
    "Summary",
    "check_dims",
    "check_finite",
    "check_num_draws",
    "check_query_size",
    "check_whole",
    "normalized_log_probs",
    "top_scores",
]

Summary = dict[str, Tensor]
"""What is kept of some points: tensors whose first dimension runs over the points."""


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
    """Says which points of the pool to label next. Its fields are its parameters and its configuration."""

    needs_pass: ClassVar[bool] = True
    """Whether the pool must be read. Without it select() gets a pool summary of one tensor (N, 0)."""

    needs_dropout: ClassVar[bool] = False
    """Whether it asks the model for dropout draws, so that a network without dropout is refused at the start."""

    needs_labeled: ClassVar[bool] = False
    """Whether select() looks at the summaries of the labeled points too."""

    needs_labels: ClassVar[bool] = False
    """Whether the labeled points are read first and with_labeled() makes of them and their labels the function that
    reads the pool."""

    takes_targets: ClassVar[bool] = False
    """Whether it goes by target inputs, which with_targets() can be given."""

    features_part: ClassVar[int | None] = None
    """Which tensor of the summary holds the features (N, D) by which points are told apart, where features of another
    network can take their place. None where they cannot: a gradient is one of this network's features."""

    features_alone: ClassVar[bool] = False
    """Whether features are all that it keeps, so that with those of another network the pool need not be read."""

    keeps_draws: ClassVar[bool] = False
    """Whether a summary holds K * C numbers a point, the draws themselves, because points are compared by them."""

    @property
    def name(self) -> str:
        """The name on the command line: that of the module which holds the class."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        """Reduce one batch, on its device, to what is worth keeping of it: tensors of B rows."""

    def with_labeled(self, labeled: Summary, labels: Tensor) -> AcquisitionFunction:
        """The function that summarizes the pool and selects from it; called where needs_labels is set.

        ``labeled`` is what summarize() of this one made of the labeled points, always from the network's own features.
        ``labels`` (L,) int64 are their classes, and -2 for points of none. All processes get all of them. What is taken
        from them can be held in a field with ``init=False``, which is no option of the command line.
        """
        return self

    def with_targets(self, targets: Summary) -> AcquisitionFunction:
        """The function that selects for these target inputs; called where takes_targets is set and somebody gives some.

        ``targets`` is what summarize() made of them. As with_labeled() otherwise.
        """
        return self

    @abstractmethod
    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        """Choose ``query_size`` distinct rows of ``pool``, best first.

        ``labeled`` is empty unless needs_labeled. The generator is on the CPU whatever device the summaries are on.
        """

    def select_in(
        self,
        shard: Shard,
        pool: tuple[Rows, ...],
        labeled: Summary,
        query_size: int,
        generator: torch.Generator,
    ) -> Selection:
        """select() where this process may hold a part of the pool only, on disk perhaps; each gives the answer of one
        that holds all.

        ``pool`` are the rows of ``shard.span``, the answer's positions are in the whole pool, and the generators of
        all processes are equal. As it stands here all rows are brought into memory first, which is fine for scores.
        """
        return self.select(shard.gather(pool), labeled, query_size, generator)


@dataclass(frozen=True)
class ScoreFunction(AcquisitionFunction):
    """An acquisition function that looks at each point alone: highest score first, ties by the generator."""

    @abstractmethod
    def score(self, model: PoolModel, x: Tensor) -> Tensor:
        """(B, ...) images to (B,) scores, higher is more worth labeling."""

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        return (self.score(model, x),)

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        (scores,) = pool
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


def check_query_size(query_size: int, num_candidates: int) -> None:
    """Raise DalError unless 1 <= query_size <= num_candidates."""
    if isinstance(query_size, bool) or not isinstance(query_size, int) or not 1 <= query_size <= num_candidates:
        expected = f"a whole number from 1 to {num_candidates} (the points in the pool)"
        raise bad_value("query_size", expected, query_size)


def check_num_draws(num_draws: object) -> None:
    """Raise DalError unless so many draws can disagree."""
    check_whole("num_draws", num_draws, 2, "one draw cannot disagree")


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
