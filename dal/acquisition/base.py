"""What an acquisition function is: what to keep of a batch, and how to choose from what was kept.

Shapes in the names: N pool, B batch, K draws, C classes, D features, Q query size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from dal.errors import NonFiniteError, bad_value

if TYPE_CHECKING:
    from dal.acquisition.search.rows import Rows
    from dal.acquisition.search.shards import Workspace

Summary = tuple[Tensor, ...]
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
        workspace: Workspace,
        pool: tuple[Rows, ...],
        labeled: Summary,
        query_size: int,
        generator: torch.Generator,
    ) -> Selection:
        """select() where this process may hold a part of the pool only, on disk perhaps; each gives the answer of one
        that holds all.

        ``pool`` are the rows of ``workspace.span``, the answer's positions are in the whole pool, and the generators of
        all processes are equal. As it stands here all rows are brought into memory first, which is fine for scores.
        """
        return self.select(workspace.gather(pool), labeled, query_size, generator)


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


def check_whole(argument: str, value: object, least: int = 1, why: str = "") -> None:
    """Raise DalError, with ``why`` where there is one, unless ``value`` is a whole number of at least ``least``.

    >>> check_whole("num_draws", 1, 2, "one draw cannot disagree")
    Traceback (most recent call last):
    dal.errors.DalError: num_draws: expected a whole number of at least 2 (one draw cannot disagree), got 1.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise bad_value(argument, f"a whole number of at least {least}{f' ({why})' if why else ''}", value)


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


def check_finite(what: str, values: Tensor, first_row: int = 0, num_rows: int | None = None) -> None:
    """Raise NonFiniteError, naming the first row, if any value is NaN or infinite.

    ``first_row`` and ``num_rows`` are for values that are a part of more rows.
    """
    # The extremes tell first: a mask of a large pool is not made unless there is something to name.
    if values.numel() == 0 or bool(torch.isfinite(torch.stack(torch.aminmax(values))).all()):
        return
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        row = int((~finite).reshape(len(values), -1).any(dim=1).nonzero()[0])
        bad = values[row][~finite[row]].flatten()[0].item() if values.ndim > 1 else values[row].item()
        row, num_rows = first_row + row, num_rows or len(values)
        raise NonFiniteError(f"{what}: expected finite numbers, got {bad} at row {row} of {num_rows}.", row)


def in_double(x: Tensor) -> Tensor:
    """float64 where the device has it (Apple's has not)."""
    return x.float() if x.device.type == "mps" else x.double()


def normalized_log_probs(argument: str, logits: Tensor) -> Tensor:
    """Log-probabilities over the last dimension, in nats and float64; rows are refused where they make no sense.

    Log-probabilities are logits that are normalized already and come back as they are, so a function built on this
    takes either. -inf is a probability of 0.

    Args:
        argument: what to call ``logits`` in an error.
        logits: (..., C), any floating dtype.

    Returns:
        (..., C) float64.

    Raises:
        NonFiniteError: a row holds NaN or +inf, or nothing but -inf.

    >>> normalized_log_probs("logits", torch.tensor([[0.0, 0.0], [0.0, -torch.inf]])).exp().tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    log_probs = in_double(logits).log_softmax(dim=-1)
    # -inf is fine and NaN is not, which is what being finite means for the probabilities.
    check_finite(argument, log_probs.exp())
    return log_probs


def row_blocks(num_rows: int, width: int, most_values: int = 2**20) -> Iterator[slice]:
    """Slices that cover ``num_rows`` rows of ``width`` values, each of at most ``most_values`` values (or one row).

    >>> list(row_blocks(5, 10, most_values=20))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, most_values // max(1, width))
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


def unit_scale(*values: Tensor) -> float:
    """The power of two that brings the largest absolute value into [0.5, 1), 1 if all are 0.

    Multiplying by it is exact, and squares of what comes out neither overflow nor underflow.

    >>> unit_scale(torch.tensor([3.0, -8.0]))
    0.0625
    """
    largest = max((x.abs().item() for v in values if v.numel() for x in torch.aminmax(v)), default=0.0)
    exponent = math.frexp(largest)[1] if largest else 0
    return math.ldexp(1.0, -max(-1000, min(1000, exponent)))
