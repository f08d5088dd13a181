"""When each class was learned, lost, and learned again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dal.analysis.diagnosis.finding import FEW_TEST_IMAGES, NO_TEST, Detected, Finding, few_rounds
from dal.analysis.diagnosis.history import Floats, History, Ints
from dal.analysis.diagnosis.thresholds import LEARNED_RECALL, LOST_ALPHA, LOST_LEAST, REFERENCE_ROUNDS
from dal.analysis.diagnosis.words import counted, listed, p_value, percent
from dal.analysis.statistics.mcnemar import exact_mcnemar, least_losses
from dal.analysis.statistics.proportions import wilson_lower, wilson_upper

KEY = "learned"
TITLE = "When classes were learned and lost"
METHOD = "Exact McNemar tests of each class against the rounds before."

LEAST_ROUNDS = 4  # two rounds learn a class, and two lose it
MOST_POINTS = 12

UNTESTED, NOT_LEARNED, LEARNED, LOST = "untested", "not learned", "learned", "lost"

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Event:
    """A class is learned, lost, or regained in a round, or fell in the last round, which no other round confirms."""

    number: int
    event: str
    round: int
    p: float = float("nan")
    losses: int = 0
    gains: int = 0
    compared: int = 0
    points: tuple[int, ...] = ()
    confirmed_in: int = -1


@dataclass(frozen=True, eq=False)
class _Tests:
    """The test points of a class in the rounds that tested any: (r, n)."""

    number: int
    rounds: Ints
    position: Ints
    tested: Bools
    right: Bools


@dataclass(frozen=True, eq=False)
class _Change:
    """Predictions of a round against a reference: images lost and gained, of those compared."""

    lost: Bools
    gains: int
    compared: int

    @property
    def losses(self) -> int:
        return int(self.lost.sum())

    @property
    def p(self) -> float:
        return float(exact_mcnemar(self.losses, self.gains))

    @property
    def drop(self) -> float:
        return (self.losses - self.gains) / max(self.compared, 1)

    def is_loss(self, alpha: float) -> bool:
        return self.drop >= LOST_LEAST and self.p < alpha


def detect(history: History) -> Detected:
    """Follow each class over the rounds.

    A class is learned at the first of two rounds in a row with a lower limit of recall of LEARNED_RECALL. It is lost if
    two rounds in a row get more of its test images wrong than right, among those that changed since the majority of the
    REFERENCE_ROUNDS rounds before: exact McNemar, over all classes and rounds. It is regained where it is learned and
    within LOST_LEAST of that reference.
    """
    tests = [found for number in range(history.num_classes) if len((found := _tests(history, number)).rounds)]
    if not tests:
        reason = "Without predictions of a test set, it cannot be told which classes were learned or lost."
        return Detected(KEY, TITLE, (), reason, METHOD, unknown=True, lack=NO_TEST)
    num_rounds = len(history.recorded)
    looks = max(len(tests) * (num_rounds - 1), 1)
    alpha = LOST_ALPHA / looks
    events: list[Event] = []
    states = []
    for found in tests:
        of_class, state = _follow(found, alpha)
        events += of_class
        states.append(_states(history, found, state))
    tables = {"classes": pd.concat(states, ignore_index=True), "changes": _changes(events, looks)}
    least = _least_images(alpha)
    few = [found for found in tests if found.tested[-1].sum() < least]
    silenced = [_too_few(history, found, least) for found in few]
    silenced += [_not_confirmed(history, event) for event in events if event.event == "fell"]
    if num_rounds < LEAST_ROUNDS:
        reason = (
            f"{counted(num_rounds, 'round')} with test predictions are too few: two rounds in a row learn a class, and "
            "two more lose it."
        )
        if num_rounds == 1:
            reason = reason.replace(" are too few", " is too few")
        return Detected(
            *(KEY, TITLE, (), reason, _method(tests, looks)),
            unknown=True,
            silenced=tuple(silenced),
            tables=tables,
            lack=few_rounds(num_rounds, LEAST_ROUNDS),
        )
    findings = [_finding(history, event, events, looks) for event in events if event.event == LOST]
    all_few = len(few) == len(tests)
    return Detected(
        KEY,
        TITLE,
        tuple(sorted(findings, key=lambda finding: -finding.weight)),
        _quiet(history, tests, events, least, few),
        _method(tests, looks),
        unknown=all_few and not findings,
        silenced=tuple(silenced),
        tables=tables,
        lack=FEW_TEST_IMAGES if all_few else None,
    )


def _tests(history: History, number: int) -> _Tests:
    position = history.of_class(number)
    tested = history.tested[:, position]
    rounds = np.flatnonzero(tested.any(axis=1))
    return _Tests(number, rounds, position, tested[rounds], history.right[rounds][:, position])


def _follow(tests: _Tests, alpha: float) -> tuple[list[Event], list[str]]:
    good = wilson_lower(tests.right.sum(axis=1), tests.tested.sum(axis=1)) >= LEARNED_RECALL
    events: list[Event] = []
    states: list[str] = []
    state, since, last = NOT_LEARNED, 0, len(tests.rounds) - 1
    reference = np.empty(0)
    for t, round in enumerate(tests.rounds):
        if state == LEARNED:
            before = _reference(tests, max(since, t - REFERENCE_ROUNDS), t)
            change = _compare(tests, before, t)
            if change.is_loss(alpha):
                confirmed = t < last and _compare(tests, before, t + 1).is_loss(alpha)
                if confirmed:
                    state, reference = LOST, before
                if confirmed or t == last:
                    events.append(_event(tests, state if confirmed else "fell", t, change))
        elif t < last and good[t] and good[t + 1]:
            again = state == LOST
            if not again or all(_compare(tests, reference, place).drop < LOST_LEAST for place in (t, t + 1)):
                state, since = LEARNED, t
                events.append(Event(tests.number, "regained" if again else LEARNED, int(round)))
        states.append(state)
    return events, states


def _reference(tests: _Tests, start: int, end: int) -> Floats:
    """Return (n,) 1 for images that most of these rounds have right, 0 for most wrong, NaN for a tie or no test."""
    tested, right = tests.tested[start:end].sum(axis=0), tests.right[start:end].sum(axis=0)
    known = (tested > 0) & (2 * right != tested)
    return np.where(known, (2 * right > tested).astype(np.float64), np.nan)


def _compare(tests: _Tests, reference: Floats, t: int) -> _Change:
    tested, right = tests.tested[t], tests.right[t]
    lost = tested & (reference == 1) & ~right
    gains = int((tested & (reference == 0) & right).sum())
    return _Change(lost, gains, int((tested & ~np.isnan(reference)).sum()))


def _event(tests: _Tests, event: str, t: int, change: _Change) -> Event:
    points = tuple(int(place) for place in tests.position[change.lost][:MOST_POINTS])
    confirmed_in = int(tests.rounds[t + 1]) if event == LOST else -1
    return Event(
        tests.number,
        event,
        int(tests.rounds[t]),
        change.p,
        change.losses,
        change.gains,
        change.compared,
        points,
        confirmed_in,
    )


def _states(history: History, tests: _Tests, state: list[str]) -> pd.DataFrame:
    n, right = tests.tested.sum(axis=1), tests.right.sum(axis=1)
    table = pd.DataFrame(
        {
            "class": tests.number,
            "round": tests.rounds,
            "n": n,
            "right": right,
            "recall": right / n,
            "low": wilson_lower(right, n),
            "high": wilson_upper(right, n),
            "state": state,
        }
    )
    missing = np.setdiff1d(history.recorded, tests.rounds)
    if not len(missing):
        return table
    untested = pd.DataFrame({"class": tests.number, "round": missing, "n": 0, "right": 0, "recall": np.nan})
    untested = untested.assign(low=0.0, high=1.0, state=UNTESTED)
    return pd.concat([table, untested]).sort_values("round", ignore_index=True)


def _changes(events: list[Event], looks: int) -> pd.DataFrame:
    rows = [
        (event.number, event.event, event.round, event.p, event.losses, event.gains, event.compared, looks)
        for event in events
        if event.event != "fell"
    ]
    return pd.DataFrame(rows, columns=["class", "event", "round", "p", "losses", "gains", "compared", "looks"])


def _least_images(alpha: float) -> int:
    """Return the number of test images from which a class can be learned and lost."""
    learned = next(n for n in range(1, 10_000) if wilson_lower(n, n) >= LEARNED_RECALL)
    return max(learned, least_losses(alpha))


def _finding(history: History, event: Event, events: list[Event], looks: int) -> Finding:
    name = history.classes[event.number]
    gains = "none" if event.gains == 0 else f"{event.gains}"
    images = counted(event.compared, "test image")
    again = next(_later(events, event, "regained"), None)
    end = f" Round {again.round} had learned it again." if again else ""
    sentence = (
        f"In round {event.round} the model got {event.losses} of the {images} of {name} wrong that it had had right in "
        f"most of the rounds before, and {gains} the other way ({p_value(event.p)}; {looks} were looked at). Round "
        f"{event.confirmed_in} confirmed it.{end} Retraining on the same labels may give another picture."
    )
    drop = (event.losses - event.gains) / event.compared
    numbers: dict[str, float | int | str] = {
        "losses": event.losses,
        "gains": event.gains,
        "compared": event.compared,
        "p": event.p,
        "looks": looks,
    }
    weight = (1.0 if again else 2.0) + drop
    return Finding(KEY, sentence, weight, (event.number,), event.round, event.points, numbers)


def _later(events: list[Event], lost: Event, kind: str) -> Iterator[Event]:
    return (e for e in events if e.number == lost.number and e.event == kind and e.round > lost.round)


def _too_few(history: History, tests: _Tests, least: int) -> str:
    images = counted(int(tests.tested[-1].sum()), "test image")
    return f"{history.classes[tests.number]}: too few test images to say ({images}; at least {least} are needed)."


def _not_confirmed(history: History, event: Event) -> str:
    return (
        f"{history.classes[event.number]}: round {event.round}, the last, got {event.losses} of {event.compared} test "
        f"images wrong that were right before, and {event.gains} the other way ({p_value(event.p)}); a second round "
        "must confirm it."
    )


def _quiet(history: History, tests: list[_Tests], events: list[Event], least: int, few: list[_Tests]) -> str:
    if len(few) == len(tests):
        most = max(int(found.tested[-1].sum()) for found in tests)
        return f"Too few test images to say: at least {least} of a class are needed, and no class has more than {most}."
    learned = {event.number for event in events if event.event == LEARNED}
    judged = [found for found in tests if found not in few]
    missing = [history.classes[found.number] for found in judged if found.number not in learned]
    said = [f"No class was lost, of the {len(judged)} that can be judged."]
    if missing:
        said.append(f"Not learned: {listed(missing)}.")
    images = int(np.median([found.tested[-1].sum() for found in judged]))
    said.append(
        f"With {counted(images, 'test image')} of a class, losses below {least_share(images, least)} % of them cannot "
        "be seen."
    )
    return " ".join(said)


def least_share(images: int, least: int) -> int:
    """Return the least loss that can be seen, in whole percent of the images of a class."""
    return round(100 * max(least / max(images, 1), LOST_LEAST))


def _method(tests: list[_Tests], looks: int) -> str:
    images = max(int(np.median([found.tested[-1].sum() for found in tests])), 1)
    right = np.flatnonzero(wilson_lower(np.arange(images + 1), images) >= LEARNED_RECALL)
    needed = f", {right[0]} of {images} test images" if len(right) else ""
    return (
        "Learned: the first of two rounds in a row with Wilson's one-sided lower 95 % limit of recall at or above "
        f"{percent(LEARNED_RECALL)}{needed}. Lost: exact one-sided McNemar test against the majority of the "
        f"{REFERENCE_ROUNDS} rounds before, p < {LOST_ALPHA} / {looks}, in two rounds in a row, and a drop of at least "
        f"{percent(LOST_LEAST)} of the images. A test compares two models, not two ways to train."
    )
