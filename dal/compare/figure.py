"""The picture of a comparison: a panel a problem, in the style of the reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from dal.analysis.groups import Group
from dal.analysis.pairing import Problem
from dal.report.learning_curve import curves_figure


def comparison_figure(problems: Sequence[Problem]) -> Figure:
    """Mean test accuracy in percent against labels, with the 95 % t interval over seeds as a band."""
    return curves_figure([group for problem in problems for group in _drawn(problem)])


def _drawn(problem: Problem) -> list[Group]:
    """Best last accuracy first, and so in the legend. A panel has the name of the problem."""
    note = "; ".join(problem.notes)
    groups = [replace(group, data=problem.name) for group in problem.functions]
    groups.sort(key=lambda group: (-group.accuracy[:, -1].mean(), group.name))
    # What holds for the problem is said once.
    return [replace(group, note="" if i else note) for i, group in enumerate(groups)]
