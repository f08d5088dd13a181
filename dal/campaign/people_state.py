"""The learner of a campaign with people, as a function of the answers that each query and round saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from dal.campaign.training_round import Setting, drawn
from dal.costs.ledger import Ledger
from dal.data.images import ImageData
from dal.data.masks import RenumberedMasks
from dal.errors import DalError
from dal.labeling.people.events import LABEL
from dal.labeling.people.first_asks import spare_points
from dal.labeling.people.fold import Fold
from dal.labeling.people.oracle import People
from dal.labeling.people.prefixes import check_prefixes, last_seen
from dal.labeling.people.taking import points_between
from dal.loop import ActiveLearner
from dal.runs.asked import INITIAL, QUERY, TEST, VALIDATION, AskedLine
from dal.runs.journal import Labeled
from dal.runs.layout import TRAIN
from dal.runs.records import Records
from dal.stopping import CampaignConfig
from dal.stopping.stop_set import stop_set


class _Step(NamedTuple):
    """A moment at which the campaign saw the answers: to choose a query, or to train a round."""

    seq: int
    round: int
    asked: int
    """Number of lines that people had been asked by then."""


class PeopleState:
    """The learner of a campaign with people.

    Its pool follows from the journal and from the numbers of answers that the records name. A class that people add
    needs a model with more outputs, so take() then replaces the learner.
    """

    def __init__(self, learner: ActiveLearner, people: People, setting: Setting) -> None:
        self.people, self.setting = people, setting
        self._given = self.learner = learner
        self._restore()

    @property
    def _records(self) -> Records:
        return self.setting.records

    def _restore(self) -> None:
        records = self._records
        seq = records.answers_seq or 0
        fitted = int(records.rows[-1].get("answers_seq", 0)) if records.rows else 0
        check_prefixes(self.people.folder, records.rows, last_seen(records.asks, seq, records.answers_sha256))
        before, names = (list(fold.classes.names) for fold in self.people.folds((fitted, seq)))
        self._replay(names)
        # In the round in work, people may have added a class, which the last weights do not have.
        self.learner.restore_model(records, has_weights=len(before) == len(names))

    def _replay(self, names: Sequence[str]) -> None:
        """Make a learner for these classes that has seen the same answers at the same moments."""
        records = self._records
        self.learner = self._with_classes(names)
        self.learner.initial = self.setting.campaign.initial
        if not records.asks:
            return
        self._hold_out(records.asked)
        steps, before = list(self._steps()), 0
        asked = [line.index for line in records.asked]
        for place, fold in enumerate(self.people.folds(step.seq for step in steps), start=1):
            step = steps[place - 1]
            # The last step looks at all points. Before it, those whose answers changed are enough.
            changed = None if place == len(steps) else points_between(fold, before)
            self.learner.look_at(fold, asked[: step.asked], round=step.round, changed=changed)
            before = step.seq
        self.learner.round = len(records.rows) - (records.stage != TRAIN) if records.rows else 0

    def _steps(self) -> Iterator[_Step]:
        records = self._records
        fits = [int(row["answers_seq"]) for row in records.rows]
        if records.stage == TRAIN and records.answers_seq is not None:
            fits.append(records.answers_seq)
        for round in range(len(records.rows) + 1):
            asks = [ask for ask in records.asks if ask.round == round]
            yield from (_Step(ask.answers_seq, round, ask.first) for ask in asks)
            if round < len(fits):
                last = next((ask.first for ask in records.asks if ask.round > round), len(records.asked))
                yield _Step(fits[round], round, last)

    def _with_classes(self, names: Sequence[str]) -> ActiveLearner:
        """Return the given learner if it has this number of classes, or a new one."""
        if len(names) == self._given.data.num_classes:
            return self._given
        if self.people.rebuild is None:
            raise DalError(
                f"classes: expected a learner of the {len(names)} classes {', '.join(names)}, got one of "
                f"{self._given.data.num_classes}. Pass People(rebuild=...), which makes it."
            )
        learner: ActiveLearner = self.people.rebuild(names)
        return learner

    def _hold_out(self, asked: Sequence[AskedLine]) -> None:
        """Reserve the held-out points, and fix the stop set, both of which no answer changes."""
        learner = self.learner
        held = {kind: [line.index for line in asked if line.kind == kind] for kind in (TEST, VALIDATION)}
        learner.hold_out(test=held[TEST], validation=held[VALIDATION])
        learner.pool.exclude(learner.data.points_of(learner.data.unreadable))
        self.setting.followed = stop_set(learner.pool, self.setting.campaign.stop_set_size, learner.seed)

    def look(self, seq: int) -> None:
        """Show the first ``seq`` answers to the choice of the next query."""
        self.learner.ledger = Ledger()
        if self._records.asks:
            self.learner.look_at(self.people.fold(seq), [line.index for line in self._records.asked])
        self._seen = seq

    def lines(self, size: int) -> list[AskedLine]:
        """Return the next lines of asked.csv. The first ones have the test, validation and initial points."""
        learner, records, campaign = self.learner, self._records, self.setting.campaign
        if not records.asks:
            return self._first_lines()
        if not records.rows:
            left = min(campaign.budget - learner.labels_bought, learner.pool.num_unlabeled)
            if left <= 0:
                raise DalError(
                    "run: expected a label of a class among the answers, got none, and no point or budget is left. "
                    "Correct an answer, or choose a larger campaign.budget."
                )
            return self._numbered([(INITIAL, index, None) for index in learner.ask_initial(min(size, left))])
        if not size:
            return []
        with self.setting.recorder.asking(learner):
            query = learner.ask(size)
        lines = self._numbered([(QUERY, index, score) for index, score in zip(query, query.scores, strict=True)])
        if learner.data.task.is_dense:  # a class for each pixel is no suggestion
            return lines
        fold = self.people.fold(self._seen)
        suggested = suggestions(learner.predict(torch.tensor(query.indices), "score"), fold)
        return [
            replace(line, suggestion=name, confidence=confidence)
            for line, (name, confidence) in zip(lines, suggested, strict=True)
        ]

    def _first_lines(self) -> list[AskedLine]:
        """Return the points of the test set, the validation set and the initial set, and hold out the first two.

        Nobody then waits three times. The points do not depend on answers, and images that cannot be decoded are among
        them, so that a page can show the first points before they are committed.
        """
        learner, campaign = self.learner, self.setting.campaign
        points: list[tuple[str, int, float | None]] = []
        held: list[int] = []
        before = learner.pool.unlabeled
        for kind, size in ((TEST, campaign.test_size), (VALIDATION, campaign.validation_size)):
            if size:
                chosen = drawn(learner, size, kind)
                points += [(kind, index, None) for index in chosen]
                learner.pool.exclude(chosen)
                held += chosen
        size, spare = campaign.initial_size, self._spare(len(before) - len(points), len(held))
        chosen = list(learner.ask_initial(size + spare))
        points += [(INITIAL, index, None) for index in chosen[:size]]
        points += [(QUERY, index, None) for index in chosen[size:]]
        lines = self._numbered(points)
        self._hold_out(lines)
        return lines

    def _spare(self, left: int, held: int) -> int:
        """Return the number of further random points, which people label while the first model trains."""
        campaign = self.setting.campaign
        if not self.people.config.wait or campaign.initial != "random":
            return 0
        return spare_points(campaign.initial_size, campaign.query_size, campaign.budget - held, left)

    def _numbered(self, points: Sequence[tuple[str, int, float | None]]) -> list[AskedLine]:
        records, ranks, ids = self._records, dict[str, int](), self.learner.data.point_ids
        lines = []
        for place, (kind, index, score) in enumerate(points, start=len(records.asked)):
            rank = ranks[kind] = ranks.get(kind, -1) + 1
            lines.append(AskedLine(place, len(records.rows), rank, index, ids[index], score, kind))
        return lines

    def take(self, seq: int) -> bool:
        """Give the first ``seq`` answers to the next round, and commit its new training labels.

        Returns False, and commits nothing, if no label is a class yet.
        """
        records, fold = self._records, self.people.fold(seq)
        if not self._has_class(fold):
            if not records.rows:
                return False
            raise DalError("run: expected a label of a class among the answers, got none. Correct an answer.")
        if len(fold.classes.names) != self.learner.data.num_classes:
            self._replay(fold.classes.names)
            self.learner.restore_model(records, has_weights=False)
        self.learner.round = len(records.rows)
        self.learner.look_at(fold, [line.index for line in records.asked], round=len(records.rows))
        records.answers_sha256 = self.people.sha256(seq)
        records.commit_taken(self._new_labels(len(records.rows)), seq)
        return True

    def _has_class(self, fold: Fold) -> bool:
        """Return whether a training point has a label of a class."""
        no_training = set(self.learner.data.points_of(self.learner.data.unreadable))
        held_out = self.learner.held_out
        return any(
            index not in held_out and index not in no_training and fold.decision(index).status == LABEL
            for index in fold.points()
        )

    def _new_labels(self, round: int) -> list[Labeled]:
        pool = self.learner.pool
        new = pool.labeled[pool.rounds(pool.labeled) == round]
        scores = {line.index: line.score for line in self._records.asked if line.round == round}
        ids = self.learner.data.point_ids
        values = zip(new.tolist(), pool.labels(new).tolist(), strict=True)
        return [Labeled(round, rank, i, ids[i], label, scores.get(i)) for rank, (i, label) in enumerate(values)]


def merged(test: ImageData, fold: Fold) -> ImageData:
    """Return a given test set, with the labels of merged classes changed."""
    into = torch.tensor([fold.classes.merged(number) for number in range(len(fold.classes.names))])
    if test.masks is not None:
        return replace(test, masks=RenumberedMasks(test.masks, into.tolist()))
    labels = torch.where(test.labels >= 0, into[test.labels.clamp(min=0)], test.labels)
    return replace(test, labels=labels)


def suggestions(logits: Tensor, fold: Fold) -> list[tuple[str | None, float | None]]:
    """Return the most probable class that people can choose, and its probability, for each row of logits."""
    classes = fold.classes
    probabilities = logits.double().softmax(dim=1)
    numbers = range(logits.shape[1])
    into = torch.tensor([classes.merged(number) for number in numbers])
    merged = torch.zeros(len(logits), len(classes.names), dtype=torch.float64, device=logits.device)
    merged.index_add_(1, into.to(logits.device), probabilities)
    offered = [number for number in range(len(classes.names)) if classes.is_offered(number)]
    best = merged[:, offered].max(dim=1)
    return [
        (classes.names[offered[place]], round(value, 4))
        for place, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def restore_with_people(
    learner: ActiveLearner, people: People, campaign: CampaignConfig, records: Records
) -> ActiveLearner:
    """Return the learner of a run with people as its records and its journal leave it.

    With classes that people added, it is another learner.
    """
    people.open()
    setting = Setting(campaign, records, None, None, lambda row: None, torch.empty(0, dtype=torch.int64))
    return PeopleState(learner, people, setting).learner
