"""The active learning loop: ask, tell, fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from dal.acquisition.base import AcquisitionFunction, check_query_size
from dal.acquisition.search.shards import Shard
from dal.costs.ledger import Ledger
from dal.data.images import ImageData, known_indices
from dal.data.sources.torch_dataset import as_image_data
from dal.errors import DalError
from dal.labeling.labels import Labels
from dal.labeling.pool import Pool
from dal.labeling.query import Query
from dal.models.adapt import AdaptedModel, as_adapted
from dal.models.base_module import BaseModule
from dal.runs.records import Records
from dal.runtime.distributed import from_rank_zero, scoring_device
from dal.runtime.progress import OnProgress, silent
from dal.runtime.seeding import generator, isolated_rng
from dal.scoring.arguments import candidates_for, check_acquisition, keeps_scores, target_points_for
from dal.scoring.candidates import Candidates, Known, latest_scores, starting_features
from dal.scoring.config import ScoringConfig
from dal.scoring.dense.pooling import Pooling
from dal.scoring.external_features import check_replaceable
from dal.scoring.feature_cache import FeatureCache, takes_features
from dal.scoring.initial_features import check_initial_features, initial_points
from dal.scoring.limit import Limit, UnitOptions, number_limit
from dal.scoring.measured import followed_logits, measured
from dal.scoring.model_pass import ModelPass
from dal.scoring.select import KnownPoints, select_points
from dal.scoring.target_points import unlabeled_targets
from dal.scoring.trial import try_model
from dal.tasks import Metrics
from dal.tasks.own_metrics import OwnMetrics
from dal.training import FitResult, TrainingConfig, fit_round
from dal.training.setup import Logs, Points, TrainingSetup
from dal.training.trainer.structure import load_weights
from dal.training.trainer.trainer_options import check_trainer_options, reproducible
from dal.training.trainer.tried import check_training_options, run_setup_hooks

Model = AdaptedModel | BaseModule


class ActiveLearner(Labels):
    """Runs active learning with one model on one training set.

    ``model`` is a Classifier, adapt(module, head=...), or a function without arguments that returns one of them. When a
    round starts from scratch, a function returns a newly initialized network, and a module returns to the weights that
    it had at first, which suits pre-trained weights. ``candidates`` select the points of the pool to score, by default
    all. ``trainer`` holds options of Lightning's Trainer. ``metrics`` are torchmetrics by name that take logits and
    labels. evaluate() returns them, and the journal lists them as ``test_NAME``. ``pooling`` says how scores of pixels
    become scores of units, for segmentation, and ``unit_options`` how a query deals with several units of an image.

    >>> from dal.acquisition import Margin
    >>> from dal.data import ImageData, TensorSource
    >>> from dal.models import Classifier, backbones
    >>> pixels = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8)
    >>> data = ImageData("toy", TensorSource(pixels), [f"image-{i}" for i in range(40)], torch.arange(40) % 2,
    ...                  ["even", "odd"], mean=[0.5], std=[0.5])
    >>> learner = ActiveLearner(Classifier(backbones.SmallCNN(1, (8, 8)), num_classes=2), data, Margin(),
    ...                         training=TrainingConfig(min_updates=1, max_updates=2))
    >>> for _ in range(2):
    ...     query = learner.ask(10)
    ...     learner.tell(query, [i % 2 for i in query])
    ...     _ = learner.fit()
    >>> learner.round, learner.pool.num_labeled, len(set(learner.pool.labeled.tolist()))
    (1, 20, 20)
    """

    def __init__(
        self,
        model: Model | Callable[[], Model],
        data: ImageData | object,
        acquisition: AcquisitionFunction,
        *,
        pool: Pool | None = None,
        candidates: Candidates | None = None,
        training: TrainingConfig | None = None,
        scoring: ScoringConfig | None = None,
        trainer: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Metric] | None = None,
        pooling: Pooling | None = None,
        initial: str = "random",
        unit_options: UnitOptions | None = None,
        seed: int = 0,
        on_progress: OnProgress = silent,
    ) -> None:
        data = as_image_data(data)
        check_acquisition(acquisition, data)
        super().__init__(data, pool)
        self.metrics = OwnMetrics({} if metrics is None else metrics, data.task, data.num_classes)
        self.candidates = candidates_for(candidates, acquisition, data.num_points)
        self.acquisition, self.seed, self.initial = acquisition, seed, initial
        self.unit_options = unit_options or UnitOptions()
        self.training, self.scoring = training or TrainingConfig(), scoring or ScoringConfig()
        self._targets = target_points_for(self.scoring, acquisition, data)
        device = scoring_device(str((trainer or {}).get("accelerator") or "auto"))
        self.trainer, self.on_progress, self.logs = reproducible(trainer or {}, device), on_progress, Logs()
        self.scores: Tensor | None = None
        """(N,) float64: the last score of each point, or NaN. Only kept for candidates that use it."""
        self._scores_before: Tensor | None = None  # at the start of this round, so that ask() is repeatable
        # A module is also callable, but is not a function that creates a model.
        is_made = isinstance(model, AdaptedModel | nn.Module) or not callable(model)
        self._make: Any = None if is_made else model
        self.model = as_adapted(model) if is_made else self._new_model(0)
        check_trainer_options(self.trainer, self.model.module)
        self.passes = ModelPass(self.model, self.scoring, device, Ledger(), on_progress, pooling=pooling or Pooling())
        check_training_options(self.setup, len(data))
        self._features = FeatureCache()
        self._first_state = {k: v.detach().clone() for k, v in self.model.module.state_dict().items()}
        try_model(self.model, data, acquisition, lambda: run_setup_hooks(self.setup), self.training.half_size_until)

    @property
    def device(self) -> torch.device | None:
        """Device that scores the pool."""
        return self.passes.device

    @property
    def ledger(self) -> Ledger:
        """Costs of the current round so far."""
        return self.passes.ledger

    @ledger.setter
    def ledger(self, ledger: Ledger) -> None:
        self.passes.ledger = ledger

    @property
    def setup(self) -> TrainingSetup:
        """Model, passes and settings for training."""
        logs = replace(self.logs, round=self.round)
        return TrainingSetup(self.passes, self.training, self.trainer, self.seed, logs, self.data.datamodule)

    def ask(self, query_size: int, limit: Limit | None = None) -> Query:
        """Return the ``query_size`` most useful unlabeled points, best first.

        Before the first labels, this is the initial set. Asking again before tell() returns the same points. With
        ``limit``, the query is as long as the limit allows, and at most ``query_size``.

        Raises DalError for a query size of 0 or larger than the pool or the candidates, for NaN logits, and if no fit()
        followed the last tell().
        """
        check_query_size(query_size, self.pool.num_unlabeled)
        if self.pool.num_labeled == 0:
            return self.ask_initial(query_size)
        if limit is None and self.unit_options != UnitOptions():
            limit = number_limit(query_size, self.pool.size // len(self.data), self.unit_options)
        with self.ledger.phase("select"), Shard.shared(0).agreed():
            g = generator(self.seed, self.round, "candidates")
            known = Known(self._starting_features, self._scores_before)
            candidates = self.candidates.choose(self.pool, query_size if limit is None else 1, g, known)
        # Rounding may differ between processes, and all must score the same points.
        candidates = from_rank_zero(candidates)
        if limit is not None:
            candidates = limit.candidates(candidates, self.pool.unlabeled)
            return self._choose(self.data, candidates, len(candidates), limit)
        if not keeps_scores(self.candidates):
            return self._choose(self.data, candidates, query_size)
        ranked = self._choose(self.data, candidates, len(candidates))
        self.scores = latest_scores(self._scores_before, ranked, self.data.num_points)
        return Query.of(self.data, ranked.indices[:query_size], ranked.scores[:query_size])

    def ask_initial(self, query_size: int) -> Query:
        """Return points that are chosen without a trained model, as the policy ``initial`` says."""
        self.check_initial()
        points = (self.data, self.pool.unlabeled)
        indices = initial_points(self.passes, self.initial, points, self.seen, query_size, self.seed)
        return from_rank_zero(Query.of(self.data, indices.tolist(), [None] * query_size))

    def check_initial(self) -> None:
        """Raise DalError if the policy ``initial`` needs features that do not exist before training."""
        check_initial_features(
            self.initial, self.scoring, self.data.num_points, self._first_state, self._make, self.seed
        )

    def rank(self, top: int | None = None, data: ImageData | None = None) -> Query:
        """Return all unlabeled points, or all points of ``data``, most useful first.

        ``top`` limits the number of points. The order is that of ask() with all points as candidates. Raises DalError
        as ask() does.
        """
        candidates = self.pool.unlabeled if data is None else torch.arange(data.num_points)
        check_query_size(len(candidates) if top is None else top, len(candidates))
        return self._choose(data or self.data, candidates, len(candidates) if top is None else top)

    def _choose(self, data: ImageData, candidates: Tensor, query_size: int, limit: Limit | None = None) -> Query:
        if self.acquisition.needs_pass and self._fitted_round is None:
            raise DalError("ask: expected fit() before the second ask(), got labels but no trained model.")
        if data is not self.data:
            check_replaceable(self.scoring.features_file, self.acquisition)
        reads_labeled = self.acquisition.uses_labeled_points or self.acquisition.learns_from_labels
        labeled = self.pool.labeled if reads_labeled else self.pool.labeled[:0]
        # With other data, cached features of the training set would only serve the labeled points.
        own = self.seen(self.data) if self.acquisition.needs_pass and data is self.data else self.data
        targets = unlabeled_targets(self._targets, self.pool.unlabeled)
        known = KnownPoints(own, labeled, self.pool.labels(labeled), targets)
        points, when = (own if data is self.data else data, candidates), {"seed": self.seed, "round": self.round}
        chosen = select_points(self.passes, self.acquisition, points, known, query_size, limit=limit, **when)
        return from_rank_zero(Query.of(data, candidates[chosen.positions].tolist(), chosen.scores.tolist()))

    def fit(self) -> FitResult:
        """Train one round on all points labeled with a class.

        The best weights are kept. ``training.warm_start`` determines the initial weights.
        """
        labeled, labels = self.trainable()
        self.passes.half_size = self.training.is_half_size(self.pool.num_labeled)
        result = fit_round(
            self.setup,
            self.seen(self.data),
            (labeled, labels),
            None if self.validation is None else self.data.trainable(self.validation),
            num_new=int((self.pool.rounds(labeled) == self.round).sum()),
            fresh=self._fresh_state,
            is_first=self._fitted_round is None,
            round=self.round,
        )
        self._fitted_round, self._scores_before = self.round, self.scores
        self.logs = replace(self.logs, steps_before=self.logs.steps_before + result.updates)
        return result

    def evaluate(self, data: ImageData | object) -> Metrics:
        """Return metrics on the labeled points of ``data``.

        For a LightningDataModule, they are measured on its test set.
        """
        data = as_image_data(data, "test", self.data.classes)
        indices = known_indices(data)
        return self.measure(data.whole(), (indices, data.labels[indices]), "test", self.metrics)

    def test_metrics(self) -> Metrics | None:
        """Return metrics on the test set that was bought from the pool, or None if it has no label of a class."""
        if self.test is None:
            return None
        points = self.data.trainable(self.test)
        return self.measure(self.data, points, "test", self.metrics) if len(points[0]) else None

    def measure(self, data: ImageData, points: Points, phase: str, own: OwnMetrics | None = None) -> Metrics:
        """Return the metrics of the task, and ``own`` metrics, on points. The costs are charged to ``phase``."""
        with self.ledger.phase(phase):
            return measured(self.passes, self._as_seen(data, phase), points, phase, own)

    def follow(self, points: Tensor) -> Tensor:
        """Return the (S, C) logits of the stop set: of its points, or of some pixels of its regions."""
        with self.ledger.phase("stop"):
            return followed_logits(self.passes, self._as_seen(self.data, "stop"), points, "stop", self.seed)

    def predict(self, indices: Tensor, phase: str = "test") -> Tensor:
        """Return (B, C) float32 logits of training images, or (B, C, h, w) for segmentation.

        The costs are charged to ``phase``.
        """
        with self.ledger.phase(phase):
            return self.passes.logits(self._as_seen(self.data, phase), indices, phase)

    def _as_seen(self, data: ImageData, phase: str) -> ImageData:
        # Features of the test set are not a cost of the method.
        return self.seen(data, "embed" if data is self.data else phase)

    def restore(self, records: Records) -> None:
        """Restore labels, weights and costs from the records of an interrupted run.

        The labels of people come from their answers instead (see dal.campaign.people).
        """
        self.round = records.selections[-1].round if records.selections else 0
        for round in range(self.round + 1):
            points = [p for p in records.selections if p.round == round]
            self.pool.label([p.index for p in points], [p.label for p in points], round)
        if records.test:
            self.tell_test([p.index for p in records.test], [p.label for p in records.test])
        if records.validation:
            self.tell_validation([p.index for p in records.validation], [p.label for p in records.validation])
        self.restore_model(records)

    def restore_model(self, records: Records, has_weights: bool = True) -> None:
        """Restore weights, scores and costs.

        Without ``has_weights``, the weights do not fit the model, because it has more classes. The round then starts
        from new weights.
        """
        if records.weights is not None and has_weights:
            load_weights(self.model.module, records.weights, lambda: run_setup_hooks(self.setup))
            self._fitted_round = len(records.rows) - 1
            self.passes.half_size = self.training.is_half_size(records.rows[-1].num_labeled)
        self.logs = Logs(steps_before=sum(row.get("updates", 0) for row in records.rows))
        self.scores = self._scores_before = records.scores
        self.ledger = Ledger(records.costs)
        if records.weights is not None or self.ledger.costs.get("embed"):  # the latter for the initial set
            self._features.already_counted(self.model)

    def seen(self, data: ImageData, phase: str = "embed") -> ImageData:
        """Return the images, or their features if the backbone is frozen."""
        return self._features.view(self.passes, data, phase) if takes_features(self.model) else data

    def _new_model(self, round: int) -> AdaptedModel:
        with isolated_rng(self.seed, round, "init"):
            return as_adapted(self._make())

    def _fresh_state(self) -> Mapping[str, Tensor]:
        if self._make is None or self.round == 0:
            return self._first_state
        fresh = self._new_model(self.round).module.state_dict()
        if takes_features(self.model):
            # A frozen backbone stays the same, so that its features are valid in all rounds.
            fresh |= {name: value for name, value in self._first_state.items() if name.startswith("backbone.")}
        return fresh

    def _starting_features(self) -> Tensor:
        data = self.seen(self.data)
        # A resumed run computes them again without counting them twice.
        with self.ledger.phase("embed"):
            return starting_features(self.passes, self._first_state, data, self.round == 0 and data is self.data)
