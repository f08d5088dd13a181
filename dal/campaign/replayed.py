"""Replays a campaign with people from its journal, and compares what it asked, took and trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

import torch

from dal.campaign.people_state import PeopleState
from dal.campaign.training_round import Setting
from dal.data.sources.folder.listing import shown
from dal.errors import DalError
from dal.labeling.people.oracle import People
from dal.loop import ActiveLearner
from dal.runs.asked import asked_lines
from dal.runs.journal import csv_lines
from dal.runs.layout import ASKED, ROUNDS, SELECTIONS, TRAIN
from dal.runs.records import Records
from dal.runs.round import Round
from dal.runs.weights_digest import weights_sha256
from dal.stopping import CampaignConfig


@dataclass
class Replayed:
    """What a replay compared, and the first difference in words, or None."""

    rounds: int = 0
    asked: int = 0
    selected: int = 0
    difference: str | None = None


def replay(
    learner: ActiveLearner,
    people: People,
    campaign: CampaignConfig,
    records: Records,
    to: int | None = None,
    on_round: Callable[[Round], None] = lambda row: None,
) -> Replayed:
    """Repeat the queries and rounds of ``records``, each with the number of answers that it saw.

    The replay ends after round ``to``, by default after all that the records have, or at the first difference. It reads
    the journal of ``people``, and writes nothing. Raises DalError at a round that used images that are gone now.
    """
    again = Records()
    people.open()
    setting = Setting(campaign, again, None, None, on_round, followed=torch.empty(0, dtype=torch.int64))
    found = _Replay(PeopleState(learner, people, setting), records, again)
    last = len(records.rows) - 1 if to is None else to
    for row in records.rows[: last + 1]:
        if found.differs_in_round(row):
            return found.result
        on_round(row)
    if to is None:  # a query without a finished round
        _ = found.asks_differ(len(records.rows)) or (records.stage == TRAIN and found.labels_differ(len(records.rows)))
    return found.result


class _Replay:
    def __init__(self, state: PeopleState, records: Records, again: Records) -> None:
        self.state, self.records, self.again, self.result = state, records, again, Replayed()
        data = state.people.data
        self.lost = set(data.points_of(data.gaps - set(data.unreadable)))
        """Images that the run had, and that are gone now."""

    def differs_in_round(self, row: Round) -> bool:
        if self.asks_differ(row.round) or self.labels_differ(row.round):
            return True
        learner = self.state.learner
        held = [] if learner.validation is None else learner.validation[0].tolist()
        self._check_there(row.round, [*learner.pool.labeled.tolist(), *held])
        learner.fit()
        weights = learner.model.module.state_dict()
        digest = weights_sha256(weights)
        if digest != row.get("weights_sha256"):
            return self._differs(ROUNDS, row.round + 1, f"weights_sha256 {row.get('weights_sha256')}", digest)
        self.again.keep_weights(weights)
        self.again.commit_round(row)
        self.result.rounds += 1
        return False

    def asks_differ(self, round: int) -> bool:
        """Choose the queries of a round again, and return whether a line differs."""
        asks = [*self.records.asks, None]
        for ask, following in pairwise(asks):
            if ask is None or ask.round != round:
                continue
            expected = self.records.asked[ask.first : None if following is None else following.first]
            self._check_there(round, [line.index for line in expected if line.score is not None])
            self.state.look(ask.answers_seq)
            lines = self.state.lines(len(expected))
            self.again.commit_asked(lines, ask.answers_seq, {}, self.state.learner.scores)
            if self._first_difference(
                ASKED, ask.first + 2, asked_lines(expected, header=False), asked_lines(lines, header=False)
            ):
                return True
            self.result.asked += len(lines)
        return False

    def labels_differ(self, round: int) -> bool:
        """Take the answers of a round again, and return whether a line of selections.csv differs."""
        in_work = round == len(self.records.rows)
        seq = self.records.answers_seq if in_work else self.records.rows[round]["answers_seq"]
        before = len(self.again.selections)
        self.state.take(int(seq or 0))
        expected = [point for point in self.records.selections if point.round == round]
        new = self.again.selections[before:]
        self.result.selected += len(new)
        return self._first_difference(
            SELECTIONS, before + 2, csv_lines(expected, header=False), csv_lines(new, header=False)
        )

    def _check_there(self, round: int, indices: Sequence[int]) -> None:
        """Raise DalError if an image that the round ranked first or trained on is gone."""
        data = self.state.people.data
        if lost := sorted(self.lost.intersection(indices)):
            ids = list(dict.fromkeys(data.ids[index // data.units_per_image] for index in lost))
            images = "1 image that is" if len(ids) == 1 else f"{len(ids):,} images that are"
            earlier = f", or replay the rounds before with --to {round - 1}" if round else ""
            raise DalError(
                f"replay: round {round} cannot be trained again, because it used {images} gone now ({shown(ids)}). "
                f"Restore the data{earlier}."
            )

    def _first_difference(self, name: str, first: int, expected: str, got: str) -> bool:
        pairs = zip_longest(expected.splitlines(), got.splitlines(), fillvalue="no line")
        for number, (one, other) in enumerate(pairs, start=first):
            if one != other:
                return self._differs(name, number, one, other)
        return False

    def _differs(self, name: str, line: int, expected: str, got: str) -> bool:
        self.result.difference = f"line {line} of {name}: expected {expected}, got {got}."
        if self.lost:
            self.result.difference += f" The number of images that are gone now: {len(self.lost):,}."
        return True
