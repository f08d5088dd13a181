"""Checks that functions start from the same labels, without which a comparison is not paired."""

from __future__ import annotations

from collections.abc import Sequence

from dal.analysis.bought_units import unit_of
from dal.analysis.grouping import Group
from dal.errors import DalError
from dal.runs.layout import SELECTIONS
from dal.runs.reader import Run


def check_initial_sets(name: str, groups: Sequence[Group]) -> None:
    """Raise DalError unless runs of a seed have the same initial set and the same validation set.

    Runs that buy other units, such as regions, have other sets.
    """
    for runs in zip(*(group.runs for group in groups), strict=True):
        for what, read in (("initial set", _initial_ids), ("validation set", _validation_ids)):
            firsts: dict[str, tuple[Run, set[str]]] = {}
            for run in runs:
                ids = read(run)
                first, expected = firsts.setdefault(unit_of(run), (run, ids))
                if ids != expected:
                    raise DalError(
                        f"runs: expected the same {what} in every function with seed {run.seed} on {name}, got another "
                        f"in {str(run.path)!r} than in {str(first.path)!r}."
                    )


def _initial_ids(run: Run) -> set[str]:
    selections, _ = run.points
    if not selections:
        raise DalError(f"runs: expected {SELECTIONS}, which holds the initial set, in {str(run.path)!r}, got none.")
    return {point.id for point in selections if point.round == 0}


def _validation_ids(run: Run) -> set[str]:
    return {point.id for point in run.points[1]}
