"""The axis of learning curves: labels, or another cost of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dal.analysis.bought_units import units_of
from dal.costs.kinds import KINDS, cost_key
from dal.errors import DalError, unknown_choice
from dal.runs.reader import Run

UNITS = "units"
SECOND = "clicks"
"""The axis that reports show beside the bought unit."""

_APART = 1e-9


def bought(run: Run, axis: str) -> NDArray[Any]:
    """Return what the labels after each round cost, (R,) increasing. ``units`` are the labels.

    A round that opens no further image is shown a billionth of an image later. Raises DalError for a cost that the run
    does not record.
    """
    if axis == UNITS:
        return run.labels_bought
    if not records(run, axis):
        raise DalError(f"x: expected a cost that all runs record, got {axis!r}, which {str(run.path)!r} does not.")
    costs = np.array([row.spent(axis) for row in run.rows], dtype=np.float64)
    return costs + _APART * np.arange(len(costs)) if (np.diff(costs) <= 0).any() else costs


def records(run: Run, axis: str) -> bool:
    """Return whether all rounds record a cost."""
    return axis == UNITS or all(row.get(cost_key(axis)) is not None for row in run.rows)


def axis_of(runs: Sequence[Run], given: str | None = None) -> str:
    """Return the axis of a report: the given one, or else the cost of the campaigns.

    For runs that buy images and runs that buy regions, the default is clicks, because their labels are not alike.

    Raises DalError for an unknown name.
    """
    if given is not None:
        if given not in KINDS:
            raise unknown_choice("x", KINDS, given)
        return given
    costs = {str((run.config.get("campaign") or {}).get("cost", UNITS)) for run in runs}
    found = costs.pop() if len(costs) == 1 else UNITS
    if found in (UNITS, SECOND) and len(units_of(runs)) > 1:
        found = SECOND
    return found if found in KINDS and all(records(run, found) for run in runs) else UNITS


def axes_of(runs: Sequence[Run], given: str | None = None) -> list[str]:
    """Return the axes to show: the given one, or else the cost of the campaigns, and clicks if all runs record them."""
    first = axis_of(runs, given)
    shows_second = given is None and first != SECOND and all(records(run, SECOND) for run in runs)
    return [first, SECOND] if shows_second else [first]


def noun(axis: str) -> str:
    """Return the name of an axis in a sentence.

    >>> noun("units"), noun("clicks")
    ('labels', 'clicks')
    """
    return KINDS[axis].plural


def title(axis: str) -> str:
    """Return the title of an axis in a figure.

    >>> title("units"), title("pixels")
    ('Labels bought', 'Pixels bought')
    """
    return KINDS[axis].axis
