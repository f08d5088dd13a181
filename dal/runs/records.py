"""The records of a campaign, kept in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from dal.errors import DalError
from dal.runs.asked import AskedLine
from dal.runs.dynamics import Arrays
from dal.runs.journal import Asked, Labeled
from dal.runs.layout import ANSWER, ANSWER_TEST, ANSWER_VALIDATION, DONE, SELECT, TRAIN
from dal.runs.round import Round
from dal.runs.settings import check_same_settings

Weights = Mapping[str, Tensor]
PoolSeen = Mapping[str, Any]
"""What the pending round records of the pool: ``counts`` and ``probabilities`` by class, and its ``size``."""


class Ask(NamedTuple):
    """A query in asked.csv."""

    first: int
    """Its first line."""
    answers_seq: int
    """Number of answers that the choice saw."""
    round: int
    """The round that trains on its labels."""


class Records:
    """The state of a campaign in memory. RunFolder stores it on disk.

    ``stage`` is the next step: ``select`` points for the next round, ``answer`` the ``pending`` query with labels,
    ``train`` on them, or ``done``. ``answer_validation`` and ``answer_test`` are ``answer`` for the validation set and
    the test set.

    With people, ``asked`` has all lines of asked.csv, ``asks`` the queries in it, and ``answers_seq`` is the number of
    answers that the last round with labels sees. ``answers_sha256`` is the digest of the answers that the last query or
    round saw, if it is known.
    """

    path: Path | None = None
    """The folder of the records.

    None if they are in memory only.
    """
    query_path: Path | None = None
    """The file with the pending query, or None if it is only in memory."""

    def __init__(self) -> None:
        self.stage = SELECT
        self.rows: list[Round] = []
        self.selections: list[Labeled] = []
        self.test: list[Labeled] = []
        self.validation: list[Labeled] = []
        self.pending: list[Asked] = []
        self.asked: list[AskedLine] = []
        self.asks: list[Ask] = []
        self.answers_seq: int | None = None
        self.answers_sha256: str | None = None
        self.costs: dict[str, Any] = {}
        self.scores: Tensor | None = None
        self.weights: Weights | None = None
        self._kept: Weights = {}
        self.pool_seen: PoolSeen | None = None
        self.settings: dict[str, Any] = {}

    def describe_missing(self, facts: Mapping[str, Any]) -> None:
        """Add facts to the description of the images, except those that it has. Only a folder has one."""

    def follow(self, metric: str, settings: Mapping[str, Any] | None = None) -> None:
        """Note the primary metric, which reports follow, and the settings of the campaign.

        Raises DalError if a finished round used other settings. Records without a finished round start over.
        """
        if settings is None:
            return
        try:
            check_same_settings(self.settings, settings, self.path)
        except DalError:
            if self.rows:
                raise
            self._start_over()
        self.settings = dict(settings)

    def _start_over(self) -> None:
        """Forget the queries of a run without a finished round."""
        self.stage, self.selections, self.test, self.validation, self.pending = SELECT, [], [], [], []
        self.asked, self.asks, self.answers_seq, self.answers_sha256 = [], [], None, None
        self.costs, self.scores, self.pool_seen = {}, None, None

    def commit_test_query(self, points: Sequence[Asked]) -> None:
        """Record the query for the test set."""
        self.pending, self.stage = list(points), ANSWER_TEST

    def commit_test(self, points: Sequence[Labeled]) -> None:
        """Record the labels of the pending test points."""
        self.test = list(points)
        self.pending, self.stage = [], SELECT

    def commit_validation_query(self, points: Sequence[Asked]) -> None:
        """Record the query for the validation set."""
        self.pending, self.stage = list(points), ANSWER_VALIDATION

    def commit_validation(self, points: Sequence[Labeled]) -> None:
        """Record the labels of the pending validation points."""
        self.validation = list(points)
        self.pending, self.stage = [], SELECT

    def keep_pool(self, seen: PoolSeen | None) -> None:
        """Store what the model says about the pool, for the query that the next commit records."""
        self.pool_seen = seen

    def commit_query(
        self,
        points: Sequence[Asked],
        costs: Mapping[str, Any],
        scores: Tensor | None = None,
    ) -> None:
        """Record the query for the next round of training.

        ``costs`` are the costs of the selection. ``scores`` are the (N,) last scores, if they are kept.
        """
        self.pending, self.stage = list(points), ANSWER
        self.costs = dict(costs)
        self.scores = None if scores is None else scores.clone()

    def commit_selection(self, points: Sequence[Labeled]) -> None:
        """Record the labels of the pending query."""
        self.selections.extend(points)
        self.pending, self.stage = [], TRAIN

    def commit_asked(
        self, lines: Sequence[AskedLine], answers_seq: int, costs: Mapping[str, Any], scores: Tensor | None = None
    ) -> None:
        """Record what people are asked next. The choice saw the first ``answers_seq`` answers."""
        self.asks.append(Ask(len(self.asked), answers_seq, len(self.rows)))
        self.asked.extend(lines)
        self.stage, self.costs = ANSWER, dict(costs)
        self.scores = None if scores is None else scores.clone()

    def commit_taken(self, points: Sequence[Labeled], answers_seq: int) -> None:
        """Record the new training labels of a round that sees the first ``answers_seq`` answers."""
        self.selections.extend(points)
        self.stage, self.answers_seq = TRAIN, answers_seq

    def keep_weights(self, weights: Weights) -> None:
        """Store the weights of the round that the next commit_round() ends."""
        self._kept = {name: value.detach().to("cpu", copy=True) for name, value in weights.items()}

    def keep_dynamics(self, dynamics: Arrays, features: Arrays) -> None:
        """Store the records for diagnosis of the round that the next commit_round() ends. In memory, there are none."""

    def previous_dynamics(self) -> tuple[Arrays, Arrays] | None:
        """Return the records for diagnosis and the features of the last round, or None if it has none."""
        return None

    def commit_round(self, row: Mapping[str, Any]) -> None:
        """Record a trained and tested round."""
        self.rows.append(Round(row))
        self.weights, self._kept = self._kept, {}
        self.costs, self.pool_seen = {}, None
        self.stage = SELECT if self.rows[-1].campaign_stopped is None else DONE

    def training_logs(self, round: int) -> Path | None:
        """Return the folder for TensorBoard events of this round, or None."""
        return None
