"""Numbers on the people who label, from their answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dal.costs.prices import PricesConfig
from dal.labeling.people.answers import Answers
from dal.labeling.people.classes import is_mask_number
from dal.labeling.people.corrections import labels_of, num_changed
from dal.labeling.people.events import ANSWERS, DAL, LABEL, NONE, UNSURE
from dal.labeling.people.fold import Fold
from dal.labeling.people.people_run import first_classes
from dal.labeling.people.prefixes import check_prefixes
from dal.labeling.people.rows import KINDS
from dal.runs.files.committed import is_file
from dal.runs.layout import ANSWERS as ANSWERS_FILE
from dal.runs.reader import Run

PAID = (LABEL, NONE, UNSURE)


@dataclass(frozen=True)
class PersonLine:
    """What a person answered.

    ``kinds`` counts the present answers of each kind, without those that the person took back or replaced. The times
    are in seconds: the median of an answer, and the sum over all answers, including those. NaN without measured times.
    ``money`` is the price of the paid answers and of the time, and NaN without prices.
    """

    name: str
    kinds: dict[str, int]
    median: float
    seconds: float
    money: float


@dataclass(frozen=True)
class ClassLine:
    """The present labels of a class, and their median seconds (NaN if they were not measured)."""

    name: str
    labels: int
    median: float


def answers_of(run: Run) -> Fold | None:
    """Return the state of all answers of a run, or None if nobody has answered.

    Raises DalError if a file is damaged, or if lines that a round saw have changed.
    """
    if not is_file(run.path / ANSWERS_FILE):
        return None
    check_prefixes(run.path, run.rows)
    return _journal(run).refresh()


def labels_changed(run: Run, fold: Fold) -> int:
    """Return how many labels changed after the last round of a finished run, whose model has not seen the changes."""
    seen = run.rows[-1].get("answers_seq", fold.seq)
    if not run.finished or seen >= fold.seq:
        return 0
    return num_changed(labels_of(_journal(run).read(seen)), fold)


def _journal(run: Run) -> Answers:
    return Answers(run.path, first_classes(run.path, run.config))


def people_lines(fold: Fold, prices: PricesConfig | None = None) -> list[PersonLine]:
    """Return a line per person, in the order of their first answers."""
    lines = []
    for number, name in enumerate(fold.people):
        rows = [seq for seq in range(1, fold.seq + 1) if fold.annotators[seq] == number]
        present = [KINDS[fold.kinds[seq]] for seq in rows if fold.is_present(seq)]
        kinds = {kind: present.count(kind) for kind in ANSWERS}
        times = [fold.seconds[seq] for seq in rows if not math.isnan(fold.seconds[seq])]
        if name == DAL or not any(KINDS[fold.kinds[seq]] in ANSWERS for seq in rows):
            continue
        money = math.nan
        if prices is not None and prices.known:
            money = prices.cost(labels=sum(kinds[kind] for kind in PAID), people_seconds=math.fsum(times))
        lines.append(PersonLine(name, kinds, _median(times), math.fsum(times) if times else math.nan, money))
    return lines


def class_lines(fold: Fold) -> list[ClassLine]:
    """Return a line per class that has labels or can be chosen, in the order of the numbers.

    A label of a merged class counts for the class that has it now. Masks are labels of no class.
    """
    times: dict[int, list[float]] = {
        number: [] for number in range(len(fold.classes.names)) if fold.classes.is_offered(number)
    }
    for seq in range(1, fold.seq + 1):
        is_class = KINDS[fold.kinds[seq]] == LABEL and not is_mask_number(fold.labels[seq])
        if is_class and fold.is_present(seq):
            times.setdefault(fold.classes.merged(fold.labels[seq]), []).append(fold.seconds[seq])
    if not any(times.values()) and any(map(is_mask_number, fold.labels)):
        return []
    names = fold.classes.names
    return [
        ClassLine(names[number], len(found), _median([one for one in found if not math.isnan(one)]))
        for number, found in sorted(times.items())
    ]


def agreement(fold: Fold) -> tuple[int, float] | None:
    """Return the number of points with two or more opinions, and the mean share that agrees with the majority.

    Opinions are labels and ``none``. Returns None without such points.
    """
    shares = []
    for index in fold.points():
        decision = fold.decision(index)
        if sum(one.kind in (LABEL, NONE) for one in decision.said) > 1:
            shares.append(decision.agreement)
    return (len(shares), float(np.mean(shares))) if shares else None


def _median(times: Sequence[float]) -> float:
    return float(np.median(times)) if len(times) else math.nan
