"""A campaign with people on a virtual clock: nobody sleeps, and the parts of dal decide.

The simulated people take points from dal's leases and answer with events of dal's journal. dal's rules decide when the
model trains anew and how many points to ask for, and dal's acquisition functions rank them.

This module has no command: see people.py.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from people_model import Problem

from dal.acquisition.base import AcquisitionFunction
from dal.acquisition.margin import Margin, margin_scores
from dal.acquisition.random import Random
from dal.acquisition.stochastic import Stochastic
from dal.labeling.people.events import LABEL, SKIP, Answer
from dal.labeling.people.fold import OPEN, Fold
from dal.labeling.people.leases import Leases
from dal.labeling.people.refit import labels_to_refit, measured_rho, queue_size, refit_due
from dal.labeling.people.wanted import wanted
from dal.runs.asked import AskedLine
from dal.runtime.seeding import derive_seed, generator

MEDIAN_SECONDS, SIGMA = 2.5, 0.5
PAUSES, PAUSE_SECONDS = 0.05, (60.0, 600.0)
SKIPS, WRONG, LATE = 0.02, 0.01, 20
LEASE_SECONDS = 300.0
FUNCTIONS: dict[str, AcquisitionFunction] = {"margin": Margin(), "keys": Stochastic("margin"), "random": Random()}


@dataclass(frozen=True)
class Strategy:
    """How to choose points, when to train, and what people get."""

    function: str = "margin"
    rounds: int | None = None
    """Points of a synchronous round. None: people go on while the model trains."""
    refit_labels: int = 1
    refit_growth: float = 0.05
    prefetch: int = 8
    ranked_anew: bool = True
    """Whether a new ranking also replaces the points that people hold but do not yet see."""
    max_behind: float | None = None
    """Share of the labels beyond which people get other work in place of points of the ranking."""


@dataclass(frozen=True)
class Team:
    """The number of people, and the seconds of one fit and score."""

    annotators: int
    fit_seconds: float


@dataclass
class Outcome:
    """What happened until the budget was spent; of each label, in order of arrival."""

    seconds: list[float] = field(default_factory=list)  # when it arrived
    paid: list[int] = field(default_factory=list)  # labels until then, with those that do not train
    known: list[dict[int, int]] = field(default_factory=list)  # the labels until then
    stale: list[int] = field(default_factory=list)  # labels between the snapshot of its ranking and itself
    arrived: list[int] = field(default_factory=list)  # of each fit: labels that arrived meanwhile
    idle_share: float = 0.0


@dataclass
class _Person:
    name: str
    rng: np.random.Generator
    in_hand: list[AskedLine] = field(default_factory=list)
    on_screen: AskedLine | None = None
    idle_since: float | None = None


class Campaign:
    """One campaign from ``initial`` labels to ``budget`` labels."""

    def __init__(
        self, problem: Problem, strategy: Strategy, team: Team, seed: int, initial: int = 20, budget: int = 300
    ) -> None:
        self._problem, self._strategy, self._team, self._seed, self._budget = problem, strategy, team, seed, budget
        self._fold, self._known, self._outcome = Fold(problem.classes), dict[int, int](), Outcome()
        self._leases = Leases(LEASE_SECONDS, 1)
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._now, self._count, self._idle, self._other = 0.0, 0, 0.0, 0
        self._corrections: list[tuple[int, str, int]] = []
        self._round, self._lines, self._training = 0, list[AskedLine](), False
        self._snapshots: dict[int, int] = {}  # of each round: the labels that its ranking saw
        self._taken_until = 0  # the labels that the last snapshot saw
        self._people = [
            _Person(f"a{k}", np.random.default_rng(derive_seed(seed, "annotator", k))) for k in range(team.annotators)
        ]
        start = torch.randperm(len(problem.labels), generator=generator(seed, "initial")).tolist()
        for index in start[:initial]:
            self._answer("a0", LABEL, index, int(problem.labels[index]))
            self._count_label()
        # Until the first ranking, people label at random; in synchronous rounds they wait.
        self._ranked_at = 0
        if strategy.rounds is None:
            self._lines = self._asked(start[initial:], "initial")

    def run(self) -> Outcome:
        """Return what happened until the budget was spent."""
        self._fit()
        for person in self._people:
            self._next(person)
        while len(self._known) < self._budget:
            self._now, _, act = heapq.heappop(self._later)
            act()
        for person in self._people:
            self._end_idle(person)
        self._outcome.idle_share = self._idle / (self._now * len(self._people))
        return self._outcome

    # People

    def _next(self, person: _Person) -> None:
        """Give a person the next image, other work, or nothing."""
        most, ranked = self._strategy.max_behind, self._round > 0
        if most is not None and ranked and too_old(len(self._known) - self._ranked_at, len(self._known), most):
            self._put_back(person)
            self._at(self._seconds(person)[0], lambda: self._other_done(person))
            return
        if not person.in_hand:
            open_lines = wanted(self._lines, self._fold)
            count = self._strategy.prefetch if self._strategy.rounds is None else 1
            person.in_hand = list(self._leases.take(person.name, count, open_lines, self._fold, self._now))
        if person.in_hand:
            person.on_screen = person.in_hand.pop(0)
            seconds, draws = self._seconds(person)
            self._at(seconds, lambda: self._done(person, *draws))
        elif len(self._known) + self._in_work() < self._budget:
            # Nobody waits for the last labels of the budget, which others have on their screens.
            person.idle_since = self._now

    def _seconds(self, person: _Person) -> tuple[float, tuple[float, float, int]]:
        """Return how long the next answer takes, and the draws that decide what it is."""
        normal, pause, skip, wrong = person.rng.normal(), *person.rng.random(3)
        length, shift = person.rng.uniform(*PAUSE_SECONDS), int(person.rng.integers(1, len(self._problem.classes)))
        seconds = MEDIAN_SECONDS * math.exp(SIGMA * normal) + (length if pause < PAUSES else 0)
        return seconds, (skip, wrong, shift)

    def _done(self, person: _Person, skip: float, wrong: float, shift: int) -> None:
        line, person.on_screen = person.on_screen, None
        assert line is not None
        self._leases.release(person.name, line.index)
        truth = int(self._problem.labels[line.index])
        if skip < SKIPS:
            self._answer(person.name, SKIP, line.index, None, line)
        else:
            is_new = line.index not in self._known
            said = (truth + shift) % len(self._problem.classes) if wrong < WRONG else truth
            self._answer(person.name, LABEL, line.index, said, line)
            if said != truth:
                self._corrections.append((len(self._known) + LATE, person.name, line.index))
            if is_new:
                self._count_label()
                if line.round > 0:
                    self._outcome.stale.append(len(self._known) - 1 - self._snapshots[line.round])
        while self._corrections and self._corrections[0][0] <= len(self._known):
            _, name, index = self._corrections.pop(0)
            self._answer(name, LABEL, index, int(self._problem.labels[index]))
        self._next(person)
        self._fit()
        self._wake()

    def _other_done(self, person: _Person) -> None:
        """A label of the test set, or a second opinion: paid, and nothing to train on."""
        self._other += 1
        self._next(person)

    def _put_back(self, person: _Person) -> None:
        for line in person.in_hand:
            self._leases.release(person.name, line.index)
        person.in_hand = []

    def _wake(self) -> None:
        """Offer work to the people who wait."""
        for person in self._people:
            if person.idle_since is not None:
                self._end_idle(person)
                self._next(person)

    def _end_idle(self, person: _Person) -> None:
        if person.idle_since is not None:
            self._idle += self._now - person.idle_since
            person.idle_since = None

    def _in_work(self) -> int:
        return sum(len(person.in_hand) + (person.on_screen is not None) for person in self._people)

    def _answer(self, name: str, kind: str, index: int, label: int | None, line: AskedLine | None = None) -> None:
        seq = self._fold.seq + 1
        said = None if label is None else self._problem.classes[label]
        ask = None if line is None else line.ask
        self._fold.apply(Answer(seq, f"e{seq}", kind, index, str(index), said, name, ask=ask))
        decided = self._fold.decision(index)
        if decided.label is not None:
            self._known[index] = decided.label

    def _count_label(self) -> None:
        self._outcome.seconds.append(self._now)
        self._outcome.paid.append(len(self._known) + self._other)
        self._outcome.known.append(dict(self._known))

    # The trainer

    def _fit(self) -> None:
        """Train if the trainer is idle and a fit is due."""
        new = len(self._known) - self._taken_until
        if self._training or new == 0 or not self._is_due(new):
            return
        self._training, self._taken_until = True, len(self._known)
        known = dict(self._known)
        self._at(self._team.fit_seconds, lambda: self._fitted(known))

    def _is_due(self, new: int) -> bool:
        if self._round == 0:
            return True
        if self._strategy.rounds is not None:
            return all(self._fold.decision(line.index).status != OPEN for line in self._lines)
        no_work = any(person.idle_since is not None for person in self._people)
        labels, growth = self._strategy.refit_labels, self._strategy.refit_growth
        return refit_due(new, self._taken_until, labels, growth, no_work=no_work)

    def _fitted(self, known: dict[int, int]) -> None:
        """Rank the points that had no label when the fit began, and give them out."""
        self._training = False
        self._round += 1
        self._ranked_at = len(known)
        self._outcome.arrived.append(len(self._known) - len(known))
        self._lines = self._asked(self._picks(known), "query")
        for person in self._people:
            if self._strategy.ranked_anew:
                self._put_back(person)
        self._wake()
        self._fit()

    def _picks(self, known: dict[int, int]) -> list[int]:
        points = list(known)
        rows = sorted(set(range(len(self._problem.labels))) - known.keys())
        left = self._budget - len(known)
        function = FUNCTIONS[self._strategy.function]
        if isinstance(function, Random):
            summary = {"points": torch.empty(len(rows), 0)}
        else:
            weights = self._problem.fit(points, list(known.values()))
            summary = {"scores": margin_scores(self._problem.log_probs(points, weights, rows))}
        if self._strategy.rounds is not None:
            size = min(self._strategy.rounds, left)
        else:
            due = labels_to_refit(len(known), self._strategy.refit_labels, self._strategy.refit_growth)
            rho = measured_rho(self._outcome.arrived)
            size = min(queue_size(rho, len(self._people), self._strategy.prefetch, left, due), len(rows))
        g = generator(self._seed, self._round, "acquisition")
        return [rows[position] for position in function.select(summary, {}, size, g).positions.tolist()]

    def _asked(self, indices: list[int], kind: str) -> list[AskedLine]:
        self._snapshots[self._round] = self._ranked_at
        first = self._lines[-1].ask + 1 if self._lines else 0
        return [
            AskedLine(first + rank, self._round, rank, index, str(index), kind=kind)
            for rank, index in enumerate(indices)
        ]

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._later, (self._now + seconds, self._count, act))


def fit_seconds(annotators: int, rho: float, initial: int, budget: int, seeds: Sequence[int], steps: int = 6) -> float:
    """Return the seconds of a fit during which ``rho`` labels arrive on average.

    People pause, and fits begin while they are at work, so the mean time of a label does not say it. The seconds come
    from campaigns with random picks.
    """
    labels, nothing = np.zeros(budget + 1000, dtype=np.int64), np.zeros((0, 0))
    blank = Problem(["a", "b"], labels, labels, nothing, nothing)
    seconds = rho * MEDIAN_SECONDS / annotators
    for _ in range(steps):
        arrived: list[int] = []
        for seed in seeds:
            team = Team(annotators, seconds)
            arrived += Campaign(blank, Strategy("random"), team, seed, initial, budget).run().arrived
        seconds *= min(3.0, max(1 / 3, rho / max(float(np.mean(arrived)), 0.01)))
    return seconds


def too_old(behind: int, labeled: int, max_behind: float) -> bool:
    """Return whether a ranking misses more than this share of the labels. dal has no such rule: it gained nothing."""
    return behind > max(1.0, max_behind * labeled)
