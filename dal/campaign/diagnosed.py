"""Records what diagnosis needs of a round, mostly from passes that happen anyway.

The test pass and the pass over the stop set give their logits, features and outputs of layers, and the pass over the
pool its predicted classes. What is extra has a budget of 3 % of the FLOPs of training and scoring, and is charged to
the phase ``diagnose``:

- New points are read once before they are trained on: at most 1 % of the forward passes of the last training, where
  a backward pass counts as two.
- Without a pass over the pool, a random sample of it is read: at most 2,000 points and 1 % of those forward passes.
- Labeled points are read once after training. If they exceed what is left of the budget, new points are read first, and
  older ones in an order that the seed fixes, so that most points are the same in all rounds.
- Layers are compared on 512 points, or on 256 or 128 if the budget has no more left, or else on none.

Checks within a round are not part of the budget, since nobody has them by default.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dal.campaign.diagnosed_arrays import (
    Arrays,
    Outputs,
    check_arrays,
    half,
    labeled_arrays,
    layer_arrays,
    layer_flops,
    log_probs_of,
    pool_arrays,
    pool_seen,
    test_arrays,
)
from dal.costs.phases import total_costs
from dal.data.images import ImageData, known_indices
from dal.errors import DalError
from dal.loop import ActiveLearner
from dal.runs.diagnosis import DiagnosisConfig
from dal.runs.dynamics import FROM_POOL, FROM_TEST
from dal.runs.dynamics import Arrays as Read
from dal.runs.records import Records
from dal.runtime.seeding import generator
from dal.scoring.candidates.base import RandomCandidates
from dal.scoring.observer import Followed, RecordedRows, WithinRound
from dal.tasks import CLASSIFICATION
from dal.training import FitResult

BUDGET = 0.03
"""Maximum FLOPs of the phase ``diagnose``, as a share of those of training and scoring."""
_SHARE = 100
"""Forward passes of the last training for each one before training, and for each one over a sample of the pool."""
_MOST_SAMPLED = 2_000
_MOST_FEATURES = 5_000
_MOST_OF_LAYERS = 512
_MOST_CHECKED = 512
_CPU_TILE = 32
_BILLED = ("train", "embed", "score")


@dataclass(frozen=True, eq=False)
class _Points:
    """Points of a data set with labels, (n,) each, and where they are from."""

    indices: Tensor
    labels: Tensor
    of: int = FROM_TEST


class Recorder:
    """Records the rounds of a campaign for diagnosis.

    It records nothing in memory, for other tasks than classification, or if the configuration says so.
    """

    def __init__(self, config: DiagnosisConfig | None = None, records: Records | None = None) -> None:
        self._config, self._records = config or DiagnosisConfig(record=False), records or Records()
        self._before: dict[int, float] = {}
        self._rows: dict[str, RecordedRows] = {}
        self._test: _Points | None = None
        self._checks_of_test = False
        self._previous: tuple[Read, Read] | None = None  # of the last round, as the files have it

    def is_on(self, learner: ActiveLearner) -> bool:
        """Return whether a round is recorded."""
        is_class = learner.data.task.name == CLASSIFICATION.name
        return self._config.record and self._records.path is not None and is_class

    @contextmanager
    def asking(self, learner: ActiveLearner) -> Iterator[None]:
        """Record what the model says about the pool when the block chooses a query."""
        if not (self.is_on(learner) and learner.is_fitted and self._records.pool_seen is None):
            yield
            return
        with learner.passes.observer.counting() as counted:
            yield
        seen = counted()
        size, is_random = learner.pool.num_unlabeled, isinstance(learner.candidates, RandomCandidates)
        if seen is not None and (seen.num_points == size or is_random):
            self._records.keep_pool(pool_seen(seen.counts, seen.probabilities, size))
        else:
            self._records.keep_pool(self._sampled(learner))

    def _sampled(self, learner: ActiveLearner) -> dict[str, Any] | None:
        """Return the predicted classes of a random sample of the pool, or None if an image cannot be read."""
        unlabeled = learner.pool.unlabeled
        order = torch.randperm(len(unlabeled), generator=generator(learner.seed, learner.round, "diagnose_pool"))
        chosen = unlabeled[order[: min(_MOST_SAMPLED, self._affordable())]].sort().values
        try:
            logits = _logits(learner, chosen) if len(chosen) else None
        except DalError:
            return None
        if logits is None:
            return None
        counts = torch.bincount(logits.argmax(dim=1), minlength=logits.shape[1])
        return pool_seen(counts, logits.double().softmax(dim=1).sum(dim=0), len(unlabeled))

    def _affordable(self) -> int:
        """Return the number of forward passes that a hundredth of the last training amounts to."""
        spent = self._records.rows[-1].costs.get("train")
        return 0 if spent is None else (spent.samples_forward + 2 * spent.samples_backward) // _SHARE

    def before_fit(self, learner: ActiveLearner, test: ImageData | None) -> None:
        """Record what the last weights say about the points that are new, and begin the checks within the round."""
        self._before = {}
        if not self.is_on(learner):
            return
        self._test = _tested(learner, test)
        if self._config.checks:
            learner.passes.observer.within = self._within(learner, test)
        if learner.is_fitted and self._records.rows:
            self._read_new(learner)

    def _within(self, learner: ActiveLearner, test: ImageData | None) -> WithinRound | None:
        """Return the points to check: of the validation set or else the test set, and labeled ones."""
        held_out = None
        if learner.validation is not None:
            held_out = learner.seen(learner.data), _Points(*learner.data.trainable(learner.validation))
        if (held_out is None or not len(held_out[1].indices)) and self._test is not None:
            held_out = learner.seen(learner.data if test is None else test, "test"), self._test
        if held_out is None or not len(held_out[1].indices):
            return None
        groups = [held_out, (learner.seen(learner.data), _labeled(learner))]
        rows = [_sample(len(points.indices), _MOST_CHECKED, learner.seed) for _, points in groups]
        follow = [
            Followed(data, points.indices[some], points.labels[some])
            for (data, points), some in zip(groups, rows, strict=True)
        ]
        self._checks_of_test = held_out[1] is self._test
        return WithinRound(self._config.checks, held_out=follow[0], labeled=follow[1])

    def _read_new(self, learner: ActiveLearner) -> None:
        points = _labeled(learner)
        new = learner.pool.rounds(points.indices) == learner.round
        indices, labels = points.indices[new][: self._affordable()], points.labels[new][: self._affordable()]
        if len(indices):
            logits = _logits(learner, indices)
            self._before = dict(zip(indices.tolist(), log_probs_of(logits, labels).tolist(), strict=True))

    @contextmanager
    def testing(self, learner: ActiveLearner, followed: Tensor) -> Iterator[None]:
        """Record the passes over the test set and the stop set that the block makes."""
        if not self.is_on(learner):
            yield
            return
        nothing = torch.empty(0, dtype=torch.int64)
        count = 0 if self._test is None else len(self._test.indices)
        rows = _sample(count, _MOST_FEATURES, learner.seed)
        self._rows = {
            "test": RecordedRows(rows, _sample(count, _MOST_OF_LAYERS, learner.seed)),
            "stop": RecordedRows(nothing, nothing if count else _sample(len(followed), _MOST_OF_LAYERS, learner.seed)),
        }
        learner.passes.observer.of_phase |= self._rows
        try:
            yield
        finally:
            learner.passes.observer.of_phase.clear()

    def keep(self, learner: ActiveLearner, result: FitResult, followed: Tensor) -> None:
        """Store the records of a round that is trained and tested."""
        if not self.is_on(learner):
            return
        with learner.ledger.phase("diagnose"):
            dynamics, features, outputs = self._of_passes(followed)
            if self._records.pool_seen is not None:
                dynamics |= pool_arrays(self._records.pool_seen)
            of_labeled = self._labeled(learner, [] if outputs is None else list(outputs.of_layer))
            dynamics, features = dynamics | of_labeled[0], features | of_labeled[1]
            if outputs is not None and outputs.of_layer:
                dynamics |= self._layers(learner, outputs, result.start)
                features["layer_names"] = dynamics["layer_names"]
            within, learner.passes.observer.within = learner.passes.observer.within, None
            if within is not None and within.updates:
                dynamics |= check_arrays(within, self._checks_of_test)
            self._previous = dynamics, features
            self._records.keep_dynamics(dynamics, features)

    def _of_passes(self, followed: Tensor) -> tuple[Arrays, Arrays, Outputs | None]:
        """Return the records, features and outputs of layers of the passes over the test set and the stop set."""
        dynamics: Arrays = {}
        features: Arrays = {}
        test, of_test, of_stop = self._test, self._rows["test"], self._rows["stop"]
        outputs = None
        if test is not None:
            dynamics |= test_arrays(test.of, test.indices, test.labels, of_test.logits)
            features |= {"test_features": half(of_test.features), "test_position": of_test.of_features.int().numpy()}
            features["layer_position"] = of_test.of_layers.int().numpy()
            outputs = Outputs.of_pass(f"test{test.of}", test.indices.numpy(), of_test)
        if len(followed):
            dynamics["stop_index"] = followed.int().numpy()
            dynamics["stop_predicted"] = of_stop.logits.argmax(dim=1).short().numpy()
            if test is None:
                features["stop_position"] = of_stop.of_layers.int().numpy()
                outputs = Outputs.of_pass("stop", followed.numpy(), of_stop)
        kind = "stop" if test is None else "test"
        if outputs is not None:
            features |= {f"layer{i}_{kind}": values for i, values in enumerate(outputs.of_layer.values())}
        return dynamics, features, outputs

    def _layers(self, learner: ActiveLearner, outputs: Outputs, start: str) -> Arrays:
        """Return the statistics of layers, with as many points as the budget allows."""
        before = self._previous or self._records.previous_dynamics()
        pair = outputs, None if before is None else Outputs.of_files(*before)
        left = _left(learner)
        count = next((count for count in (_MOST_OF_LAYERS, 256, 128) if layer_flops(*pair, count) <= left), 0)
        learner.ledger.add("diagnose", flops=layer_flops(*pair, count))
        # After another start than the last weights, a change of weights says nothing.
        weights = self._records.weights if start == "continue" else None
        return layer_arrays(learner.model.module, pair, count, weights)

    def _labeled(self, learner: ActiveLearner, names: list[str]) -> tuple[Arrays, Arrays]:
        """Return the records and features of labeled points, which are read for them.

        ``names`` are the layers whose outputs are wanted.
        """
        points, rounds = self._within_budget(learner)
        if not len(points.indices):
            return {}, {}
        layers = _sample(len(points.indices), _MOST_OF_LAYERS, learner.seed)
        rows = RecordedRows(torch.arange(len(points.indices)), layers)
        learner.passes.observer.of_phase["diagnose"] = rows
        try:
            logits = _logits(learner, points.indices)
        except DalError:  # an image whose logits are not finite must not end a campaign that does not read it
            return {}, {}
        finally:
            learner.passes.observer.of_phase.clear()
        features: Arrays = {"labeled_features": half(rows.features)}
        if names and rows.layers.names == names:
            features["layer_labeled_row"] = layers.int().numpy()
            features |= {f"layer{i}_labeled": half(rows.layers.outputs(name)) for i, name in enumerate(names)}
        return labeled_arrays((points.indices, points.labels, rounds), logits, self._before), features

    def _within_budget(self, learner: ActiveLearner) -> tuple[_Points, Tensor]:
        """Return the labeled points to read, and their rounds."""
        points = _labeled(learner)
        rounds = learner.pool.rounds(points.indices)
        trained = learner.ledger.costs["train"]
        per_image = trained.flops_forward // max(1, trained.samples_forward)
        most = _left(learner) // per_image if per_image else len(rounds)
        if most >= len(rounds):
            return points, rounds
        order = torch.randperm(len(learner.data), generator=generator(learner.seed, "diagnose_labeled"))
        rank = order[points.indices] + len(learner.data) * (rounds < learner.round)
        kept = rank.argsort()[:most].sort().values
        return _Points(points.indices[kept], points.labels[kept]), rounds[kept]


def _logits(learner: ActiveLearner, indices: Tensor) -> Tensor:
    """Return the logits of training points, on the CPU.

    A CPU reads few points in small tiles, because the last tile is padded.
    """
    passes, config = learner.passes, learner.passes.config
    if config.tile_size is None and passes.device == torch.device("cpu"):
        passes.config = replace(config, tile_size=_CPU_TILE)
    try:
        return learner.predict(indices, "diagnose").cpu()
    finally:
        passes.config = config


def _left(learner: ActiveLearner) -> int:
    """Return the FLOPs of the budget that a round has not spent."""
    costs = learner.ledger.costs
    within = learner.passes.observer.within
    spent = total_costs(costs, ("diagnose",)).total_flops - (0 if within is None else within.flops)
    return max(0, int(BUDGET * total_costs(costs, _BILLED).total_flops) - spent)


def _labeled(learner: ActiveLearner) -> _Points:
    """Return the training points with a label of a class."""
    labeled = learner.pool.labeled
    return _Points(*learner.data.trainable((labeled, learner.pool.labels(labeled))))


def _tested(learner: ActiveLearner, test: ImageData | None) -> _Points | None:
    """Return the points that a round tests."""
    if test is not None:
        indices = known_indices(test)
        return _Points(indices, test.labels[indices]) if len(indices) else None
    if learner.test is None:
        return None
    indices, labels = learner.data.trainable(learner.test)
    return _Points(indices, labels, FROM_POOL) if len(indices) else None


def _sample(count: int, most: int, seed: int) -> Tensor:
    """Return up to ``most`` of ``count`` rows, ascending. A smaller sample is part of a larger one."""
    return torch.randperm(count, generator=generator(seed, "diagnose"))[:most].sort().values
