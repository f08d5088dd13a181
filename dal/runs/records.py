"""Records of a campaign in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from dal.runs.journal import Asked, Labeled
from dal.runs.layout import ANSWER, ANSWER_VALIDATION, DONE, SELECT, TRAIN
from dal.runs.round import Round

Weights = Mapping[str, Tensor]


class Records:
    """What happened in a campaign so far, in memory. RunFolder keeps it on disk.

    ``stage`` is what comes next: ``select`` points for the next round, ``answer`` the ``pending`` query with labels,
    ``train`` on them, or ``done``. ``answer_validation`` is the same as ``answer`` for the validation set.
    """

    query_path: Path | None = None
    """The file that holds the pending query. None where it is in memory only."""

    def __init__(self) -> None:
        self.stage = SELECT
        self.rows: list[Round] = []
        self.selections: list[Labeled] = []
        self.validation: list[Labeled] = []
        self.pending: list[Asked] = []
        self.costs: dict[str, Any] = {}
        self.scores: Tensor | None = None
        self.weights: Weights | None = None
        self._kept: Weights = {}

    def commit_validation_query(self, points: Sequence[Asked]) -> None:
        """Points whose labels are asked for, to validate on."""
        self.pending, self.stage = list(points), ANSWER_VALIDATION

    def commit_validation(self, points: Sequence[Labeled]) -> None:
        """Labels of the pending validation points."""
        self.validation = list(points)
        self.pending, self.stage = [], SELECT

    def commit_query(
        self,
        points: Sequence[Asked],
        costs: Mapping[str, Any],
        scores: Tensor | None = None,
    ) -> None:
        """Points whose labels are asked for, for the next round of training.

        ``costs`` are those of the choice, and ``scores`` are the (N,) last scores where they are kept.
        """
        self.pending, self.stage = list(points), ANSWER
        self.costs = dict(costs)
        self.scores = None if scores is None else scores.clone()

    def commit_selection(self, points: Sequence[Labeled]) -> None:
        """Labels of the pending query."""
        self.selections.extend(points)
        self.pending, self.stage = [], TRAIN

    def keep_weights(self, weights: Weights) -> None:
        """The weights of the round that commit_round() is about to end."""
        self._kept = {name: value.detach().to("cpu", copy=True) for name, value in weights.items()}

    def commit_round(self, row: Mapping[str, Any]) -> None:
        """A trained and tested round."""
        self.rows.append(Round(row))
        self.weights, self._kept = self._kept, {}
        self.costs = {}
        self.stage = SELECT if self.rows[-1].campaign_stopped is None else DONE

    def lightning_logger(self, round: int) -> Any:
        """Where Lightning logs this round; None leaves that to the learner's own Trainer options."""
        return None
