"""Plots learning curves: the primary metric against labels bought."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dal.analysis.axis import UNITS, title
from dal.analysis.grouping import Group
from dal.reports.drawing import Styles, draw_curves, limit, metric_label, save, styles_of, tested_groups, title_of
from dal.runs.reader import Run
from dal.runtime.safe_text import figure_text

_INCHES = (6.4, 4.4)
_MOST_LEGEND_LINES = 8
_MOST_COLUMNS = 3
_LEGEND_WIDTH = 45  # characters, after which names are folded
_INCHES_A_LINE = 0.18  # of a legend


def plot_learning_curves(runs: Iterable[Run], path: Path, axis: str = UNITS) -> None:
    """Write learning curves as a PNG (200 dpi) or SVG file.

    Raises DalError for another suffix, and as group_runs does.
    """
    save(learning_curve_figure(runs, axis), path)


def learning_curve_figure(runs: Iterable[Run], axis: str = UNITS) -> Figure:
    """Draw the mean primary metric in percent against labels bought, or against another cost of them.

    Each data set has a panel, and each group a line. Groups with two or more seeds have a band, the 95 % t interval.
    A run on test labels that people gave has their Wilson interval. Groups without a test set are left out.

    Raises DalError as group_runs does.
    """
    groups = tested_groups(runs, axis)
    return curves_figure(groups, [f"{group.data}, {group.name}: {group.note}." for group in groups if group.note])


def curves_figure(groups: Sequence[Group], notes: Sequence[str] = ()) -> Figure:
    """Draw learning curves, with lines and legend in the given order.

    Each ``data`` has a panel. ``notes`` appear below the panels.
    """
    styles = styles_of(groups)
    panels = list(dict.fromkeys(group.data for group in groups))
    crowded = any(sum(group.data == data for group in groups) > _MOST_LEGEND_LINES for data in panels)
    longest = max(sum(_legend_lines(g) for g in groups if g.data == data) for data in panels)
    columns = min(len(panels), _MOST_COLUMNS - crowded)
    lines = math.ceil(len(panels) / columns)
    width, height = _INCHES[0] * columns * (1.4 if crowded else 1.0), max(_INCHES[1], _INCHES_A_LINE * longest) * lines
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    for i, data in enumerate(panels):
        axes = figure.add_subplot(lines, columns, i + 1)
        _draw([group for group in groups if group.data == data], axes, styles)
    if notes:
        text = "\n".join(textwrap.fill(figure_text(note), 110 * columns) for note in notes)
        figure.supxlabel(text, fontsize=7, color="0.35", ha="center")
    return figure


def _draw(groups: Sequence[Group], axes: Axes, styles: Styles) -> None:
    draw_curves(axes, groups, [group.labels for group in groups], styles)
    limit(axes, groups)
    axes.set_title(title_of(groups), loc="left", fontsize=11)
    axes.set_xlabel(title(groups[0].axis))
    axes.set_ylabel(metric_label(groups))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    _legend(axes, groups)


def _legend(axes: Axes, groups: Sequence[Group]) -> None:
    if len(groups) <= _MOST_LEGEND_LINES:
        # Curves usually rise, so the lower right corner is free.
        bottom, top = axes.get_ylim()
        middle = np.mean(axes.get_xlim())
        lowest = min(
            (
                100 * np.nanmin(group.accuracy[:, group.labels >= middle])
                for group in groups
                if group.labels[-1] >= middle
            ),
            default=bottom,
        )
        free = lowest > bottom + 0.07 * (len(groups) + 1) * (top - bottom)
        legend = axes.legend(frameon=False, loc="lower right" if free else "best", fontsize=9)
    else:
        legend = axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, handlelength=3.5)
    for text in legend.get_texts():
        text.set_text(textwrap.fill(text.get_text(), _LEGEND_WIDTH))


def _legend_lines(group: Group) -> int:
    return len(textwrap.wrap(group.name, _LEGEND_WIDTH))
