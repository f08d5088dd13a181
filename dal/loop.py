"""The one loop: ask says what to label, tell takes the answers, fit trains; run() is a whole campaign."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, check_query_size
from dal.acquisition.search.workspace import Workspace
from dal.candidates import AllCandidates, Candidates, starting_features
from dal.choosing import choose
from dal.data.base import ImageData
from dal.distributed import from_rank_zero, scoring_device
from dal.errors import DalError, bad_value
from dal.evaluation import Metrics, known_indices, metrics_from_logits, predict
from dal.initial_set import initial_set
from dal.ledger import Ledger
from dal.models.adapt import AdaptedModel, as_adapted
from dal.models.classifier import Classifier
from dal.models.mc_dropout import check_dropout
from dal.oracle import Oracle
from dal.pool import Pool
from dal.progress import OnProgress, silent
from dal.query import Query
from dal.records import Labeled, Records
from dal.scoring import ScoringConfig
from dal.seeding import generator, isolated_rng
from dal.stopping import CampaignConfig, check_metric, check_sizes, largest_query, next_query_size, reason_to_stop
from dal.training import FitResult, TrainingConfig, fit
from dal.training.warm_start import starting_state

Model = AdaptedModel | Classifier


class ActiveLearner:
    """Active learning around one model and one training set.

    ``model`` is a Classifier, adapt(module, head=...), or a function without arguments that makes one. With a function
    every fresh start is a newly initialised network; with a module it is the weights that the module came with, which
    is what pre-trained weights want. ``candidates`` say which points of the pool are scored, all of them by default.
    ``trainer`` takes Lightning's own Trainer options.

    >>> from dal.acquisition import Margin
    >>> from dal.data import ImageData, TensorSource
    >>> from dal.models.backbones import SmallCNN
    >>> pixels = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8)
    >>> data = ImageData("toy", TensorSource(pixels), [f"image-{i}" for i in range(40)], torch.arange(40) % 2,
    ...                  ["even", "odd"], mean=[0.5], std=[0.5])
    >>> learner = ActiveLearner(Classifier(SmallCNN(1, (8, 8)), num_classes=2), data, Margin(),
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
        data: ImageData,
        acquisition: AcquisitionFunction,
        *,
        pool: Pool | None = None,
        candidates: Candidates | None = None,
        training: TrainingConfig | None = None,
        scoring: ScoringConfig | None = None,
        trainer: Mapping[str, Any] | None = None,
        initial: str = "random",
        seed: int = 0,
        on_progress: OnProgress = silent,
    ) -> None:
        if not isinstance(data, ImageData):
            raise bad_value("data", "ImageData, such as from_dataset(...) makes of a Dataset", type(data).__name__)
        if not isinstance(acquisition, AcquisitionFunction):
            raise bad_value("acquisition", "an acquisition function such as Margin()", type(acquisition).__name__)
        if pool is not None and (pool.size, pool.num_classes) != (len(data), data.num_classes):
            expected = f"{len(data)} points of {data.num_classes} classes, as the data"
            raise bad_value("pool", expected, f"{pool.size} points of {pool.num_classes}")
        if candidates is not None and (isinstance(candidates, type) or not isinstance(candidates, Candidates)):
            raise bad_value("candidates", "candidates such as RandomCandidates(10_000)", candidates)
        self.candidates = candidates or AllCandidates()
        self.candidates.check(len(data), 1)
        self.data, self.acquisition, self.seed, self.initial = data, acquisition, seed, initial
        self.training, self.scoring = training or TrainingConfig(), scoring or ScoringConfig()
        self.trainer, self.on_progress = dict(trainer or {}), on_progress
        self.pool = pool or Pool(len(data), data.num_classes)
        self.validation: tuple[Tensor, Tensor] | None = None
        self.ledger = Ledger()
        self.round = 0
        self._fitted_round: int | None = None
        self._make = None if isinstance(model, AdaptedModel | Classifier) else model
        self.model = as_adapted(model) if isinstance(model, AdaptedModel | Classifier) else self._new_model(0)
        self._check_classes()
        if acquisition.needs_dropout:
            check_dropout(self.model.module)
        self._first_state = {k: v.detach().clone() for k, v in self.model.module.state_dict().items()}

    @property
    def device(self) -> torch.device:
        """Where the pool is scored."""
        return scoring_device(str(self.trainer.get("accelerator") or "auto"))

    @property
    def labels_bought(self) -> int:
        """Training and validation labels."""
        return self.pool.num_labeled + (0 if self.validation is None else len(self.validation[0]))

    def ask(self, query_size: int) -> Query:
        """The ``query_size`` unlabeled points that are most worth a label, best first. Asking again before tell() gives
        the same answer. As long as nothing is labeled it is the initial set.

        Raises DalError for a query size of 0 or beyond the pool or the candidates, labels that no fit() followed, and
        NaN logits.
        """
        check_query_size(query_size, self.pool.num_unlabeled)
        if self.pool.num_labeled == 0:
            g = generator(self.seed, "initial")
            indices = initial_set(self.initial, self.pool.unlabeled, self.data, query_size, g)
            return Query.of(self.data, indices.tolist(), [None] * query_size)
        with self.ledger.phase("select"), Workspace.shared(0).agreed():
            g = generator(self.seed, self.round, "candidates")
            candidates = self.candidates.choose(self.pool, query_size, g, self._starting_features)
        # Processes may find other neighbors by rounding, and must share out the same points.
        return self._choose(self.data, from_rank_zero(candidates), query_size)

    def rank(self, top: int | None = None, data: ImageData | None = None) -> Query:
        """The unlabeled points, or all points of other ``data``, from most to least worth a label; all of them, or the
        first ``top``. The same order as ask() gives where all points are candidates. Raises DalError as ask() does."""
        candidates = self.pool.unlabeled if data is None else torch.arange(len(data))
        query_size = len(candidates) if top is None else top
        check_query_size(query_size, len(candidates))
        return self._choose(data or self.data, candidates, query_size)

    def _choose(self, data: ImageData, candidates: Tensor, query_size: int) -> Query:
        if self.acquisition.needs_pass and self._fitted_round is None:
            raise DalError("ask: expected fit() before the second ask(), got labels but no trained model.")
        labeled = self.pool.labeled if self.acquisition.needs_labeled else self.pool.labeled[:0]
        chosen = choose(
            self.model,
            self.acquisition,
            (data, candidates),
            (self.data, labeled),
            query_size,
            seed=self.seed,
            round=self.round,
            scoring=self.scoring,
            device=self.device,
            ledger=self.ledger,
            on_progress=self.on_progress,
        )
        indices = candidates[chosen.positions]
        return from_rank_zero(Query.of(data, indices.tolist(), chosen.scores.tolist()))

    def tell(self, indices: Sequence[int], labels: Sequence[int]) -> None:
        """Take the labels of these points. Raises DalError, and takes none, if one of them is not right (see Pool)."""
        starts_round = self._fitted_round == self.round
        self.pool.label(indices, labels, self.round + starts_round)
        self.round += starts_round

    def tell_validation(self, indices: Sequence[int], labels: Sequence[int]) -> None:
        """Take points out of the pool to validate on. Their labels are bought like any other."""
        checked = Pool(self.pool.size, self.pool.num_classes)
        checked.label(indices, labels, 0)
        taken = set(self.pool.labeled.tolist()) & {int(i) for i in indices}
        if taken:
            raise bad_value("indices", "points without a training label", min(taken))
        self.pool.exclude(indices)
        self.validation = (checked.labeled, checked.labels(checked.labeled))

    def fit(self) -> FitResult:
        """Train one round on everything labeled, from the weights that training.warm_start says, and keep the best."""
        labeled = self.pool.labeled
        if not len(labeled):
            raise DalError("fit: expected labeled points, got none; ask() and tell() first.")
        policy = self.training.warm_start if self._fitted_round is not None else "scratch"
        module = self.model.module
        start = starting_state(
            policy,
            previous=module.state_dict(),
            fresh=self._fresh_state(),
            parameters={name for name, _ in module.named_parameters()},
            shrink=self.training.shrink,
            perturb=self.training.perturb,
        )
        module.load_state_dict(start)
        result = fit(
            self.model,
            self.data,
            (labeled, self.pool.labels(labeled)),
            self.validation,
            config=self.training,
            scoring=self.scoring,
            trainer_options=self.trainer,
            seed=self.seed,
            round=self.round,
            ledger=self.ledger,
            on_progress=self.on_progress,
        )
        self._fitted_round = self.round
        return result

    def evaluate(self, data: ImageData) -> Metrics:
        """Metrics on the points of ``data`` whose label is known."""
        indices = known_indices(data)
        with self.ledger.phase("test"):
            logits = predict(
                self.model, data, indices, config=self.scoring, device=self.device, on_progress=self.on_progress
            )
            self.ledger.add("test", samples_forward=len(indices))
            return metrics_from_logits(logits, data.labels[indices])

    def restore(self, records: Records) -> None:
        """Take labels, weights and costs from the records of a run that was cut off."""
        self.round = records.selections[-1].round if records.selections else 0
        for round in range(self.round + 1):
            points = [p for p in records.selections if p.round == round]
            self.pool.label([p.index for p in points], [p.label for p in points], round)
        if records.validation:
            self.tell_validation([p.index for p in records.validation], [p.label for p in records.validation])
        if records.weights is not None:
            try:
                self.model.module.load_state_dict(dict(records.weights))
            except RuntimeError as error:
                raise DalError("model: expected the network that the run was started with, got another one.") from error
            self._fitted_round = len(records.rows) - 1
        self.ledger = Ledger(records.costs)

    def _new_model(self, round: int) -> AdaptedModel:
        assert self._make is not None
        with isolated_rng(self.seed, round, "init"):
            return as_adapted(self._make())

    def _fresh_state(self) -> Mapping[str, Tensor]:
        if self._make is None or self.round == 0:
            return self._first_state
        return self._new_model(self.round).module.state_dict()

    def _starting_features(self) -> Tensor:
        with self.ledger.phase("score"):
            features = starting_features(
                self.model, self._first_state, self.data, self.scoring, device=self.device, on_progress=self.on_progress
            )
        # A resumed run makes them again, and what a crash repeats is not counted twice.
        if self.round == 0:
            self.ledger.add("embed", samples_forward=len(self.data))
        return features

    def _check_classes(self) -> None:
        weight = getattr(self.model.head_layer, "weight", None)
        if isinstance(weight, Tensor) and weight.shape[0] != self.data.num_classes:
            expected = f"a last layer with {self.data.num_classes} outputs, one a class of the data"
            raise bad_value("model", expected, f"{weight.shape[0]} outputs at {self.model.head!r}")


def run(
    learner: ActiveLearner,
    oracle: Oracle,
    campaign: CampaignConfig | None = None,
    *,
    test: ImageData | None = None,
    records: Records | None = None,
    on_round: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> list[dict[str, Any]]:
    """A whole campaign: buy labels, train, test, until ``campaign`` says stop. Returns the rows of the journal.

    With the records of a run that was cut off it goes on where that one was, to the same end.
    """
    campaign, records = campaign or CampaignConfig(), records or Records()
    answerable = torch.zeros(len(learner.data), dtype=torch.bool)
    answerable[oracle.answerable()] = True
    learner.pool.exclude((~answerable).nonzero().flatten().tolist())
    check_sizes(campaign, learner.pool.num_unlabeled)
    check_metric(campaign, test is not None)
    learner.candidates.check(len(learner.data), largest_query(campaign, learner.pool.num_unlabeled))
    learner.initial = campaign.initial
    learner.restore(records)
    if learner.validation is None and campaign.validation_size:
        order = torch.randperm(learner.pool.num_unlabeled, generator=generator(learner.seed, "validation"))
        chosen = learner.pool.unlabeled[order[: campaign.validation_size]].tolist()
        answers = oracle(chosen)
        learner.tell_validation(chosen, answers)
        ids = [learner.data.ids[i] for i in chosen]
        records.commit_validation(_lines(0, chosen, ids, answers, [None] * len(chosen)))
    while records.stage != "done":
        if records.stage == "select":
            learner.ledger = Ledger()
            round = len(records.rows)
            size = next_query_size(campaign, round, learner.labels_bought, learner.pool.num_unlabeled)
            query = learner.ask(size)
            labels = oracle(query)
            learner.tell(query, labels)
            lines = _lines(learner.round, query.indices, query.ids, labels, query.scores)
            records.commit_selection(lines, learner.ledger.row())
        if (logger := records.lightning_logger(learner.round)) is not None:
            learner.trainer["logger"] = logger
        result = learner.fit()
        metrics = {} if test is None else learner.evaluate(test).row("test")
        row = _row(learner, result, metrics)
        row["campaign_stopped"] = reason_to_stop(campaign, [*records.rows, row], learner.pool.num_unlabeled)
        records.commit_round(row, learner.model.module.state_dict())
        on_round(records.rows[-1])
    return records.rows


def _lines(
    round: int, indices: Sequence[int], ids: Sequence[str], labels: Sequence[int], scores: Sequence[float | None]
) -> list[Labeled]:
    return [Labeled(round, rank, *point) for rank, point in enumerate(zip(indices, ids, labels, scores, strict=True))]


def _row(learner: ActiveLearner, result: FitResult, metrics: Mapping[str, Any]) -> dict[str, Any]:
    best = next((h for h in result.history if h["update"] == result.best_update), None)
    watched = result.monitor.split("_")[0]
    validation = 0 if learner.validation is None else len(learner.validation[0])
    return {
        "round": learner.round,
        "num_labeled": learner.pool.num_labeled,
        "num_validation": validation,
        "labels_bought": learner.labels_bought,
        **metrics,
        **({} if best is None else {f"{watched}_accuracy": best["accuracy"], f"{watched}_loss": best["loss"]}),
        "updates": result.updates,
        "best_update": result.best_update,
        "training_stopped": result.stopped_because,
        "training_history": result.history,
        **learner.ledger.row(),
    }
