"""Plots the bills: the metric against labels, FLOPs, seconds and money."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from dal.analysis.axis import SECOND, UNITS, bought, records, title
from dal.analysis.grouping import Group
from dal.analysis.per_round import mean_costs
from dal.costs.prices import PricesConfig, human
from dal.reports.drawing import Styles, draw_curves, limit, metric_label, save, styles_of, tested_groups, title_of
from dal.runs.reader import Run
from dal.runtime.safe_text import figure_text

Floats = NDArray[np.float64]

_INCHES = (3.4, 3.2)  # of a panel
_LARGE_SPAN = 30  # ratio of largest to smallest cost above which an axis is logarithmic
_LEGEND_LINE = 0.22  # inches


def plot_bills(runs: Iterable[Run], path: Path, prices: PricesConfig | None = None, axis: str = UNITS) -> None:
    """Write the bills of runs as a PNG or SVG file.

    A PNG has 200 dpi. Raises DalError for another suffix, and as group_runs does.
    """
    save(bills_figure(runs, prices, axis), path)


def bills_figure(runs: Iterable[Run], prices: PricesConfig | None = None, axis: str = UNITS) -> Figure:
    """Draw the primary metric against labels, FLOPs, seconds and money.

    ``axis`` can be another cost of the labels. Runs that record clicks have a panel of them.

    Each data set has a row of panels. Lines are means over seeds in percent, and bands are 95 % t intervals. Costs
    exclude testing and diagnosing. They differ between seeds, so each point is at the mean cost up to its round,
    without interpolation. Groups without a test set are left out. Groups that do not count FLOPs have no line in that
    panel. The panel of FLOPs is missing if no group counts them, and the panel of money is missing without ``prices``.

    Raises DalError as group_runs does.
    """
    groups = tested_groups(runs, axis)
    titles = _titles(prices, axis)
    styles = styles_of(groups)
    spent = {id(group): _spent(group, prices) for group in groups}
    bills = [bill for bill in titles if any(_is_known(spent[id(group)][bill]) for group in groups)]
    data_sets = list(dict.fromkeys(group.data for group in groups))
    columns = _legend_columns(styles, len(bills))
    legend = _LEGEND_LINE * math.ceil(len(styles) / columns)
    notes = [textwrap.fill(figure_text(f"{g.data}, {g.name}: {g.note}."), 50 * len(bills)) for g in groups if g.note]
    height = _INCHES[1] * len(data_sets) + legend + 0.15 * sum(note.count("\n") + 1 for note in notes)
    figure = Figure(figsize=(_INCHES[0] * len(bills), height), layout="constrained")
    FigureCanvasAgg(figure)
    for row, data in enumerate(data_sets):
        shown = [group for group in groups if group.data == data]
        first: Axes | None = None
        for column, bill in enumerate(bills):
            place = row * len(bills) + column + 1
            axes = figure.add_subplot(len(data_sets), len(bills), place, sharey=first)
            _draw(axes, shown, [spent[id(group)][bill] for group in shown], styles)
            axes.set_xlabel(titles[bill])
            if first is not None:
                axes.tick_params(labelleft=False)
                continue
            first = axes
            limit(axes, shown)  # the panel of labels has all groups of the row
            axes.set_ylabel(metric_label(shown))
            axes.set_title(title_of(shown), loc="left", fontsize=11)
    lines = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    names = [str(name) for name in lines]
    figure.legend([lines[n] for n in names], names, loc="outside upper left", ncols=columns, frameon=False, fontsize=9)
    if notes:
        figure.supxlabel("\n".join(notes), fontsize=7, color="0.35", ha="center")
    return figure


def _spent(group: Group, prices: PricesConfig | None) -> dict[str, Floats]:
    costs = mean_costs(group, prices)
    labels = group.labels.astype(np.float64)
    clicks = np.full(len(labels), np.nan)
    if group.axis != SECOND and all(records(run, SECOND) for run in group.runs):
        clicks = np.mean([bought(run, SECOND)[: len(labels)] for run in group.runs], axis=0)
    compute = {"flops": costs["flops_total"], "seconds": costs["seconds"], "money": costs["money"]}
    return {"labels": labels, "clicks": clicks, **compute}


def _titles(prices: PricesConfig | None, axis: str) -> Mapping[str, str]:
    currency = "" if prices is None else f" ({figure_text(prices.currency)})"
    compute = {"flops": "FLOPs", "seconds": "Seconds", "money": f"Labels and compute{currency}"}
    return {"labels": title(axis), "clicks": title(SECOND), **compute}


def _is_known(x: Floats) -> bool:
    return not np.isnan(x).any()


def _draw(axes: Axes, groups: Sequence[Group], x: Sequence[Floats], styles: Styles) -> None:
    known = [i for i, at in enumerate(x) if _is_known(at)]
    if known:
        draw_curves(axes, [groups[i] for i in known], [x[i] for i in known], styles)
        _scale(axes, np.concatenate([x[i] for i in known]))
    else:
        axes.text(0.5, 0.5, "not counted", transform=axes.transAxes, ha="center", color="0.5")
        axes.set_xticks([])


def _scale(axes: Axes, x: Floats) -> None:
    least = x[x > 0].min(initial=np.inf)
    if x.max() > _LARGE_SPAN * least:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6 if x.max() < 1e5 else 5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))


def _tick(value: float) -> str:
    """Return a tick label without trailing zeros, such as 200 k."""
    if value < 0:  # the margin left of zero
        return ""
    if value < 1e5:
        return f"{value:,.0f}" if value == int(value) else f"{value:g}"
    number, _, prefix = human(value).partition(" ")
    return f"{float(number):g} {prefix}"


def _legend_columns(names: Iterable[str], num_panels: int) -> int:
    """Return the number of legend columns that fit the longest name."""
    inches = 0.075 * max(map(len, names)) + 0.6
    return max(1, int(_INCHES[0] * num_panels / inches))
