"""The picture of a comparison: test accuracy against labels bought."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dal.analysis.curves import mean_and_interval
from dal.analysis.groups import Group, group_runs
from dal.analysis.runs import Run
from dal.analysis.summary import BASELINE
from dal.errors import bad_value
from dal.files import replacing

FORMATS = (".png", ".svg")

# Okabe and Ito's palette, told apart by color-blind readers too, without its yellow (too light for a line) and with
# the colors that contrast most in front.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_BASELINE_COLOR, _BASELINE_LINES = "#7F7F7F", ("--", ":", "-.")
_INCHES = (6.4, 4.4)
_MOST_LEGEND_LINES = 8


def plot_learning_curves(runs: Iterable[Run], path: Path) -> None:
    """Draw the learning curves of the runs into a PNG (200 dots an inch) or, by its suffix, an SVG file.

    Raises DalError for another suffix, and as group_runs does.
    """
    if path.suffix not in FORMATS:
        raise bad_value("path", f"a file name that ends with {' or '.join(FORMATS)}", str(path))
    figure = learning_curve_figure(runs)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:], dpi=200)


def learning_curve_figure(runs: Iterable[Run]) -> Figure:
    """A panel a data set, a line a group: mean test accuracy in percent against labels bought, with the 95 % t interval
    over seeds as a band where there are two seeds or more.

    Raises DalError as group_runs does.
    """
    groups = group_runs(runs)
    styles = _styles(groups)
    panels = list(dict.fromkeys(group.data for group in groups))
    crowded = any(sum(group.data == data for group in groups) > _MOST_LEGEND_LINES for data in panels)
    width, height = _INCHES[0] * len(panels) * (1.4 if crowded else 1.0), _INCHES[1]
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    for i, data in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1)
        _draw([group for group in groups if group.data == data], axes, styles)
    notes = [
        textwrap.fill(f"{group.data}, {group.name}: {group.note}.", 110 * len(panels)) for group in groups if group.note
    ]
    if notes:
        figure.supxlabel("\n".join(notes), fontsize=7, color="0.35", ha="center")
    return figure


def _draw(groups: Sequence[Group], axes: Axes, styles: dict[str, dict[str, Any]]) -> None:
    alpha = min(0.15, 0.6 / len(groups))  # many bands over each other would hide the lines
    for group in groups:  # best last accuracy first, and so in the legend
        mean, half_width = (100 * a for a in mean_and_interval(group.accuracy))
        style = styles[group.name]
        every = max(1, len(group.labels) // 20)
        order = 2 if group.acquisition == BASELINE else 3
        axes.plot(group.labels, mean, label=group.name, markersize=4.5, markevery=every, zorder=order, **style)
        if len(group.runs) > 1:
            low, high = mean - half_width, mean + half_width
            axes.fill_between(group.labels, low, high, color=style["color"], alpha=alpha, linewidth=0, zorder=1)
    _limit(axes, groups)
    axes.set_title(_title(groups), loc="left", fontsize=11)
    axes.set_xlabel("Labels bought")
    axes.set_ylabel("Test accuracy (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    _legend(axes, groups)


def _legend(axes: Axes, groups: Sequence[Group]) -> None:
    if len(groups) <= _MOST_LEGEND_LINES:
        # Where curves rise, as they mostly do, the corner below their end is free.
        bottom, top = axes.get_ylim()
        middle = np.mean(axes.get_xlim())
        lowest = min(
            (100 * group.accuracy[:, group.labels >= middle].min() for group in groups if group.labels[-1] >= middle),
            default=bottom,
        )
        free = lowest > bottom + 0.07 * (len(groups) + 1) * (top - bottom)
        axes.legend(frameon=False, loc="lower right" if free else "best", fontsize=9)
    else:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)


def _limit(axes: Axes, groups: Sequence[Group]) -> None:
    """The interval of two seeds can be wider than all curves together: bands add half their height at most."""
    values = np.concatenate([100 * group.accuracy.ravel() for group in groups])
    low, high = values.min(), values.max()
    span = max(high - low, 1.0)
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, low - span / 4, -1.0), min(top, high + span / 4, 101.0))


def _title(groups: Sequence[Group]) -> str:
    counts = sorted({len(group.runs) for group in groups})
    seeds = f"{counts[0]} seed{'s' if counts[-1] > 1 else ''}"
    if len(counts) > 1:
        seeds = f"{counts[0]} to {counts[-1]} seeds"
    return f"{groups[0].data}, {seeds}{', band: 95 % interval of the mean' if counts[-1] > 1 else ''}"


def _styles(groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """A group keeps its style in all panels, whatever its rank."""
    names = sorted({(group.acquisition, group.name) for group in groups})
    styles: dict[str, dict[str, Any]] = {}
    baselines = [name for acquisition, name in names if acquisition == BASELINE]
    for i, name in enumerate(baselines):
        line, marker = _BASELINE_LINES[i % len(_BASELINE_LINES)], _MARKERS[i % len(_MARKERS)]
        styles[name] = {"color": _BASELINE_COLOR, "linestyle": line, "marker": marker, "linewidth": 1.5}
    for i, name in enumerate(name for acquisition, name in names if acquisition != BASELINE):
        # After a round of colors the markers go on by one, so that no pair repeats before 49 groups.
        marker = _MARKERS[(i + i // len(_COLORS)) % len(_MARKERS)]
        styles[name] = {"color": _COLORS[i % len(_COLORS)], "linestyle": "-", "marker": marker, "linewidth": 1.8}
    return styles
