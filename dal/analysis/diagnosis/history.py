"""The records of a run, one per round, as arrays that detectors read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
NOT_TESTED = -1
NOT_WRITTEN = "not written"


@dataclass(frozen=True, eq=False)
class Trained:
    """The labeled points of a round, as the model sees them after training on them. L points."""

    index: Ints
    """(L,) indices of training points, in the order of the pool."""
    label: Ints
    """(L,) told classes."""
    bought: Ints
    """(L,) the round that bought each label."""
    predicted: Ints
    """(L,) predicted classes."""
    log_prob: Floats
    """(L,) log-probability of the told class, in nats."""
    margin: Floats
    """(L,) logit of the told class minus the largest other logit."""
    before: Floats
    """(L,) log-probability of the told class before the first training on the point; NaN for points of older rounds,
    and in round 0."""


@dataclass(frozen=True, eq=False)
class Pool:
    """What the model of the round before says about the pool, before the round chooses its query."""

    counts: Ints
    """(C,) number of points predicted as each class."""
    probabilities: Floats
    """(C,) sums of the predicted probabilities."""
    size: int
    """Number of points in the pool; ``counts`` may be of a random sample of it."""


@dataclass(frozen=True, eq=False)
class Layers:
    """Statistics of the layers with weights after a round, in the order of the forward pass. K layers."""

    names: Sequence[str]
    norm: Floats
    """(K,) Frobenius norm of the weights."""
    change: Floats
    """(K,) norm of the change since the round before, divided by the norm before; NaN in round 0 and where the round
    starts from other weights."""
    cka: Floats
    """(K,) unbiased linear CKA of the outputs with those of the round before, on the same points; NaN in round 0."""
    rank: Floats
    """(K,) effective rank of the outputs: exp of the entropy of their normalized singular values."""
    width: Ints
    """(K,) number of channels or features of the outputs."""


@dataclass(frozen=True, eq=False)
class Checks:
    """Losses within a round, at some updates. K checks."""

    updates: Ints
    """(K,) updates so far."""
    held_out_of: str
    """``validation`` or ``test``."""
    held_out_loss: Floats
    """(K, n) cross-entropy of each held-out point, in nats."""
    held_out_right: NDArray[np.bool_]
    """(K, n) whether each is predicted right."""
    labeled_loss: Floats
    """(K, m) cross-entropy of labeled points."""
    labeled_right: NDArray[np.bool_]
    """(K, m)."""


@dataclass(frozen=True, eq=False)
class LastFeatures:
    """Features of the last round with records."""

    test: Floats
    """(t, D) inputs of the last layer."""
    test_position: Ints
    """(t,) their positions among the test points of the history."""
    labeled: Floats
    """(L, D) of the points of the last Trained, in its order."""
    layer_names: Sequence[str] = ()
    layer_test: Sequence[Floats] = ()
    """Per layer (u, width): outputs of test points, averaged over space."""
    layer_position: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """(u,) positions of those test points."""
    layer_labeled: Sequence[Floats] = ()
    """Per layer (v, width): outputs of labeled points."""
    layer_labeled_row: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """(v,) their rows in the last Trained."""


@dataclass(frozen=True, eq=False)
class History:
    """The R rounds of a run, with T test points and C classes.

    Lists have one entry per round. An entry is None if the round has no such record, such as a round of an older
    version or one that ran with ``diagnosis=off``.
    """

    classes: Sequence[str]
    labels_bought: Ints
    """(R,)."""
    starts: Sequence[str]
    """(R,) the weights that training starts from: scratch, continue or shrink_perturb."""
    query_sizes: Ints
    """(R,) training labels that each round adds."""
    new_labels: Ints
    """(R, C) training labels by class that each round adds."""
    test_label: Ints
    """(T,) classes of the test points; T is 0 without a test set."""
    test_predicted: Ints
    """(R, T) predicted classes; NOT_TESTED where a round has no record or did not test the point."""
    test_log_prob: Floats
    """(R, T, C) log-probabilities in nats; NaN where unknown. With many classes, those of the most probable classes
    and of the own class are known."""
    stop_predicted: Sequence[Ints | None]
    """(S,) predicted classes of the stop set."""
    trained: Sequence[Trained | None]
    pool: Sequence[Pool | None]
    layers: Sequence[Layers | None] = ()
    checks: Sequence[Checks | None] = ()
    features: LastFeatures | None = None
    test_of: str = "test"
    """``test`` for positions in the data's test set, ``train`` for a test set that was bought."""
    test_index: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """(T,) indices of the test points in their data set."""
    test_ids: Sequence[str] = ()
    train_ids: Mapping[int, str] = field(default_factory=dict)
    """Ids of labeled points by index."""
    confusion: Sequence[Ints | None] = ()
    """(C, C) counts of the test points by round, rows are their classes, as the journal has them. Rounds without
    records have these too."""
    missing: Mapping[int, str] = field(default_factory=dict)
    """Why a round has no records, by round: NOT_WRITTEN, or what is wrong with a file."""
    missing_features: str = ""
    """What is wrong with the file of the last features."""

    @property
    def num_rounds(self) -> int:
        return len(self.labels_bought)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def has_records(self) -> bool:
        """Whether any round has records."""
        return len(self.missing) < self.num_rounds

    @cached_property
    def tested(self) -> NDArray[np.bool_]:
        """(R, T) whether the round tested the point."""
        return np.asarray(self.test_predicted != NOT_TESTED, dtype=np.bool_)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """(R, T) whether the prediction is right; False where the point was not tested."""
        return np.asarray(self.tested & (self.test_predicted == self.test_label), dtype=np.bool_)

    @cached_property
    def recorded(self) -> Ints:
        """The rounds that have test predictions."""
        return np.flatnonzero(self.tested.any(axis=1))

    def of_class(self, number: int) -> Ints:
        """Return the positions of the test points of a class."""
        return np.flatnonzero(self.test_label == number)
