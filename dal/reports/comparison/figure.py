"""Learning curves of a comparison, one panel per problem."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from dal.analysis.grouping import Group
from dal.analysis.pairing import Problem
from dal.reports.overview.learning_curve import curves_figure

_MOST_NOTE = 400  # characters; the page and the terminal show the full note


def comparison_figure(problems: Sequence[Problem]) -> Figure:
    """Plot the mean primary metric, in percent, against labels.

    Bands show the 95 % t interval.
    """
    notes = [f"{problem.name}: {'; '.join(problem.notes)}." for problem in problems if problem.notes]
    shortened = [textwrap.shorten(note, _MOST_NOTE, placeholder=" ...") for note in notes]
    return curves_figure([group for problem in problems for group in _drawn(problem)], shortened)


def _drawn(problem: Problem) -> list[Group]:
    """Return the groups to draw, best last accuracy first."""
    # The panel shows the name of the data set, so replace it with the name of the problem.
    groups = [replace(group, data=problem.name) for group in problem.functions]
    return sorted(groups, key=lambda group: (-group.accuracy[:, -1].mean(), group.name))
