"""A campaign whose labels come from people, one at a time."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from dal.campaign.people_state import PeopleState, merged
from dal.campaign.training_round import Setting, train_round
from dal.costs.ledger import Ledger
from dal.errors import DalError, WaitingForAnswers
from dal.labeling.people.oracle import People
from dal.labeling.people.people_run import has_page
from dal.labeling.people.refit import labels_to_refit, measured_rho, queue_size, refit_due
from dal.loop import ActiveLearner
from dal.runs.asked import QUERY, TEST
from dal.runs.files.atomic import write_text
from dal.runs.layout import ANSWER, DONE, SELECT, TRAINER
from dal.runs.round import Round
from dal.runs.weights_digest import weights_sha256
from dal.runtime.distributed import from_rank_zero, is_rank_zero
from dal.stopping import CampaignConfig, next_query_size


def run_with_people(learner: ActiveLearner, people: People, setting: Setting) -> list[Round]:
    """Ask people, train on their answers and test, until a stopping rule applies.

    Each query and each round sees the first answers of the journal up to a number that it commits, so that a resumed
    run and a replay see the same ones.

    Raises WaitingForAnswers if answers are missing and ``oracle.wait`` is false.
    """
    if setting.campaign.initial == "balanced":
        raise DalError(
            "campaign.initial: expected random, typiclust or kmeans with oracle=people, got 'balanced', which reads "
            "labels."
        )
    people.open()
    # dal ask and dal tell read the classes there.
    setting.records.describe_missing({"name": people.data.name, "classes": list(people.data.classes)})
    return _PeopleCampaign(people, setting, PeopleState(learner, people, setting)).run()


@dataclass
class _PeopleCampaign:
    people: People
    setting: Setting
    state: PeopleState
    arrived_before: int = 0
    """Answers that arrived while the last query was chosen."""

    def run(self) -> list[Round]:
        records = self.setting.records
        with self._phases():
            while records.stage != DONE or self._labels_changed():
                if records.stage == DONE:
                    self._train_again()
                    continue
                if records.stage == SELECT:
                    self._ask()
                if records.stage == ANSWER:
                    seq = self._wait()
                    if not self.state.take(seq):
                        records.stage = SELECT  # no answer is a class: ask for more points before the first round
                        continue
                self._train()
        return records.rows

    def _labels_changed(self) -> bool:
        """Return whether people changed labels that the last model has seen. It may have ended the campaign."""
        seen = self.setting.records.rows[-1].get("answers_seq", 0)
        return from_rank_zero(self.people.changed_labels(seen) if self.people.seq > seen else 0) > 0

    def _train_again(self) -> None:
        """Train once more after the end of the campaign. The round asks for nothing."""
        self.state.learner.ledger = Ledger()
        self.state.take(from_rank_zero(self.people.seq))
        self._train()

    def _ask(self) -> None:
        records = self.setting.records
        self._tell_phase("scoring")
        is_first = not records.asks
        if not is_first:
            self.people.look_again(records.asked)
        seq = 0 if is_first else from_rank_zero(self.people.seq)
        self.state.look(seq)
        lines = self.state.lines(self._query_size())
        records.answers_sha256 = self.people.sha256(seq)
        records.commit_asked(lines, seq, self.state.learner.ledger.row(), self.state.learner.scores)
        self.people.give_up(lines)
        self.arrived_before = 0 if is_first else self._arrived_since(seq)

    def _query_size(self) -> int:
        """Return the size of the next query, 0 if the budget or the pool is exhausted."""
        learner, records, campaign = self.state.learner, self.setting.records, self.setting.campaign
        size = next_query_size(campaign, records.rows, learner.labels_bought, learner.pool.num_unlabeled)
        if not self.people.config.wait or not records.rows:
            return size
        left = min(campaign.budget - learner.labels_bought, learner.pool.num_unlabeled)
        if left <= 0:
            return 0
        config = self.people.config
        rho = measured_rho([row.get("rho", 0) for row in records.rows])
        due = labels_to_refit(learner.pool.num_labeled, config.refit_labels, config.refit_growth)
        wanted = queue_size(rho, from_rank_zero(self.people.annotators()), config.prefetch, left, due)
        try:
            learner.candidates.check(learner.data.num_points, wanted)
        except DalError:  # the candidates are fewer than the queue could hold
            return size
        return wanted

    def _wait(self) -> int:
        """Return the number of answers that the next round sees, once they are enough."""
        self.people.look_again(self.setting.records.asked)
        while True:
            seq = from_rank_zero(self._enough())
            if seq is not None:
                return seq
            if not self.people.config.wait:
                raise self._waiting()
            self._tell_phase("waiting")
            time.sleep(self.people.config.poll_seconds)

    def _enough(self) -> int | None:
        """Return the number of answers so far, or None if the next round needs more."""
        records, people = self.setting.records, self.people
        seq = people.seq
        if people.give_up(people.waiting(records.asked)):
            seq = people.seq
        open_lines = people.waiting(records.asked)
        if not open_lines:
            return seq
        if not people.config.wait:
            return None
        if not records.rows:
            # A skipped point comes back to the people who skipped it. Meanwhile, the first model does not wait for it.
            first = {line.kind for line in open_lines if not people.fold().skipped_by(line.index)}
            return None if first - ({QUERY} if self._tests() else {QUERY, TEST}) else seq
        new = people.new_answers(records.answers_seq or 0)
        config, spent = people.config, people.fold().bought >= self.setting.campaign.budget
        labeled = self.state.learner.pool.num_labeled
        return seq if refit_due(new, labeled, config.refit_labels, config.refit_growth, no_work=spent) else None

    def _tests(self) -> bool:
        """Return whether a stopping rule needs the bought test set."""
        campaign = self.setting.campaign
        follows = campaign.target is not None or campaign.plateau_rounds is not None or campaign.cost_optimum
        return follows and campaign.target_metric.startswith("test") and campaign.test_size > 0

    def _waiting(self) -> WaitingForAnswers:
        count = len(self.people.waiting(self.setting.records.asked))
        labels = f"{count} label{'' if count == 1 else 's'}"
        folder = shlex.quote(str(self.people.folder))
        page = f"`dal label {folder}`, or " if has_page(self.people.folder) else ""
        return WaitingForAnswers(
            f"run: waiting for {labels} of round {len(self.setting.records.rows)}. Run {page}`dal ask {folder}` and "
            f"`dal tell {folder} FILE`, then run the same {'command' if page else 'program'} again."
        )

    def _train(self) -> None:
        records, learner = self.setting.records, self.state.learner
        assert records.answers_seq is not None
        seq = records.answers_seq
        self._tell_phase("training")
        before = records.rows[-1].get("answers_seq", 0) if records.rows else 0
        is_again = bool(records.rows and records.rows[-1].campaign_stopped)
        again = {"labels_changed": self.people.changed_labels(before, seq)} if is_again else {}

        def facts() -> dict[str, Any]:
            weights = weights_sha256(learner.model.module.state_dict())
            arrived = self.arrived_before + self._arrived_since(seq)
            rho = {"rho": from_rank_zero(arrived)}
            return self.people.facts(seq, before) | rho | again | {"weights_sha256": weights}

        test = self.setting.test
        fold = self.people.fold(seq)
        setting = replace(
            self.setting,
            campaign=_with_measured_rules(self.setting.campaign, records.rows, learner),
            test=None if test is None else merged(test, fold),
        )
        train_round(learner, setting, facts)
        self.arrived_before = 0

    def _arrived_since(self, seq: int) -> int:
        self.people.answers.refresh()
        return self.people.new_answers(seq)

    @contextmanager
    def _phases(self) -> Iterator[None]:
        """Write the phases to trainer.json while the campaign waits for people, and its end."""
        error = None
        try:
            yield
        except DalError as failed:
            error = str(failed)
            raise
        finally:
            self._tell_phase("stopped", error)

    def _tell_phase(self, phase: str, error: str | None = None) -> None:
        if not self.people.config.wait or not is_rank_zero():
            return
        now = {"phase": phase, "round": len(self.setting.records.rows), "pid": os.getpid(), "error": error}
        text = json.dumps(now) + "\n"
        if text != getattr(self, "_told", None):
            write_text(self.people.folder / TRAINER, text)
            self._told = text


def _with_measured_rules(campaign: CampaignConfig, rows: Sequence[Round], learner: ActiveLearner) -> CampaignConfig:
    """Return the campaign without the rules whose metric some rounds lack, because no label of a class was there."""
    split = campaign.target_metric.partition("_")[0]
    held = {"test": learner.test, "val": learner.validation}[split]
    measured = held is None or bool(len(learner.data.trainable(held)[0]))
    if measured and all(campaign.target_metric in row for row in rows):
        return campaign
    return replace(campaign, target=None, plateau_rounds=None, cost_optimum=False)
