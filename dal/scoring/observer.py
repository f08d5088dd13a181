"""Records rows of passes that happen anyway: features, outputs of layers, and predicted classes.

The recorded passes compute the same numbers in tiles of the same size, and charge the same costs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dal.acquisition.base import Summary
from dal.data.images import ImageData
from dal.models.adapted.scoring_model import ScoringModel
from dal.scoring.layer_outputs import LayerOutputs

Reduce = Callable[[ScoringModel, Tensor], Summary]


class Following(ABC):
    """A reduce function that is told where each tile starts.

    Before the first tile, a pass probes its memory and its FLOPs. Probes are not recorded. A pass that runs out of
    memory starts again at row 0.
    """

    num_rows: int | None = None
    """The number of rows that it returns for all images, or None for one row for each image."""

    def __init__(self) -> None:
        self.first: int | None = None
        """The first row of the tile, or None for a probe."""
        self.valid = 0
        """The number of rows of the tile that are not padding."""

    def at(self, first: int, valid: int) -> None:
        """Begin a tile."""
        if not first:
            self.start()
        self.first, self.valid = first, valid

    def at_end(self) -> None:
        """End the pass."""
        self.first = None

    def image_of_row(self, row: int) -> int:
        """Return the place of the image that a row is from, among those of the pass."""
        return row

    @abstractmethod
    def start(self) -> None:
        """Forget all rows."""

    @abstractmethod
    def __call__(self, view: ScoringModel, x: Tensor) -> Summary: ...


class RecordedRows(Following):
    """Computes logits, and keeps features and outputs of layers of some rows.

    Args:
        features: (t,) int64 rows, ascending, whose features are kept.
        layers: (u,) int64 rows, ascending, whose outputs of layers are kept.
    """

    def __init__(self, features: Tensor, layers: Tensor) -> None:
        super().__init__()
        self.of_features, self.of_layers = features, layers
        self.start()

    def start(self) -> None:
        self._features: list[Tensor] = []
        self._logits: list[Tensor] = []
        self.layers = LayerOutputs()

    @property
    def features(self) -> Tensor:
        """(t, D) float32 on the CPU."""
        return torch.cat(self._features)

    @property
    def logits(self) -> Tensor:
        """(N, C) float32 of all rows, on the CPU."""
        return torch.cat(self._logits)

    def __call__(self, view: ScoringModel, x: Tensor) -> Summary:
        if self.first is None:
            return {"logits": view.logits(x)}
        with self.layers.of(view, self._in_tile(self.of_layers, x), len(x)):
            features, logits = view.outputs(x)
        self._logits.append(logits[: self.valid].cpu())
        rows = self._in_tile(self.of_features, x)
        if len(rows):
            self._features.append(features[rows].float().cpu())
        return {"logits": logits}

    def _in_tile(self, rows: Tensor, x: Tensor) -> Tensor:
        assert self.first is not None
        first, places = self.first, rows.numpy()
        start, end = places.searchsorted(first), places.searchsorted(first + self.valid)
        return (rows[start:end] - first).to(x.device)


class PredictedClasses(Following):
    """Counts the predicted classes of the points that an acquisition function reads.

    The predictions are those of its last plain pass over a batch, or the means of its draws.
    """

    def __init__(self) -> None:
        super().__init__()
        self._reduce: Reduce | None = None
        self.start()

    def around(self, reduce: Reduce) -> PredictedClasses:
        """Return this function, which then computes what ``reduce`` does."""
        self._reduce = reduce
        return self

    def start(self) -> None:
        self.num_points, self.counts, self.probabilities = 0, torch.zeros(0), torch.zeros(0, dtype=torch.float64)

    def __call__(self, view: ScoringModel, x: Tensor) -> Summary:
        assert self._reduce is not None
        if self.first is None:
            return self._reduce(view, x)
        view.keeps_draws = True
        view.last_probabilities()
        summary = self._reduce(view, x)
        probabilities = view.last_probabilities()
        if probabilities is not None and len(probabilities) == len(x):
            self._add(probabilities[: self.valid].cpu())
        return summary

    def _add(self, probabilities: Tensor) -> None:
        counts = torch.bincount(probabilities.argmax(dim=1), minlength=probabilities.shape[1])
        if not self.num_points:
            self.counts, self.probabilities = torch.zeros_like(counts), torch.zeros_like(probabilities[0])
        self.num_points += len(probabilities)
        self.counts += counts
        self.probabilities += probabilities.sum(dim=0)


@dataclass(frozen=True, eq=False)
class Seen:
    """What a query says about its candidates."""

    num_points: int
    counts: Tensor
    """(C,) int64."""
    probabilities: Tensor
    """(C,) float64."""


@dataclass(eq=False)
class Followed:
    """Points with labels, (n,) each, and what each look at them found."""

    data: ImageData
    indices: Tensor
    labels: Tensor
    losses: list[Tensor] = field(default_factory=list)
    """(n,) float64 cross-entropy for each look."""
    right: list[Tensor] = field(default_factory=list)
    """(n,) bool for each look."""


@dataclass(eq=False)
class WithinRound:
    """Moments within a round at which losses of single points are recorded."""

    num_checks: int
    held_out: Followed
    labeled: Followed
    updates: list[int] = field(default_factory=list)
    flops: int = 0
    """FLOPs of the looks so far."""

    @property
    def groups(self) -> tuple[Followed, Followed]:
        return self.held_out, self.labeled


@dataclass
class Observer:
    """What to record of the passes of a model."""

    within: WithinRound | None = None
    """What to record within the next round of training."""

    of_phase: dict[str, RecordedRows] = field(default_factory=dict)
    """Rows to record of the passes for logits, by phase."""
    counts_candidates: bool = False
    """Whether a query counts the predicted classes of its candidates, as ``seen``."""
    seen: Seen | None = None
    """None if the last query read no predictions of all its candidates."""

    @contextmanager
    def counting(self) -> Iterator[Callable[[], Seen | None]]:
        """Count the candidates of the query that the block chooses. The result returns what it has seen."""
        self.counts_candidates, self.seen = True, None
        try:
            yield lambda: self.seen
        finally:
            self.counts_candidates = False
