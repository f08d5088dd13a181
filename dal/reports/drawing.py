"""Draws the lines, bands and colors of all figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dal.analysis.axis import UNITS
from dal.analysis.grouping import Group, group_runs
from dal.analysis.summary import BASELINE
from dal.errors import bad_value
from dal.runs.files.atomic import replacing
from dal.runs.files.output import output_file
from dal.runs.reader import Run
from dal.runs.round import in_words
from dal.runtime.safe_text import figure_text

FORMATS = (".png", ".svg")
Styles = Mapping[str, Mapping[str, Any]]

# The palette of Okabe and Ito, which color-blind readers can tell apart. Its yellow is too light for a line. The colors
# with the most contrast come first.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", "-.", ":")
_BASELINE_COLOR, _BASELINE_LINES = "#7F7F7F", ("--", ":", "-.")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG (200 dpi) or SVG file.

    The suffix of ``path`` determines the format. Raises DalError for another suffix.
    """
    if path.suffix not in FORMATS:
        raise bad_value("path", f"a file name that ends with {' or '.join(FORMATS)}", str(path))
    # Without a date and with a fixed salt, equal numbers give equal SVG files.
    metadata = {"Date": None} if path.suffix == ".svg" else None
    with replacing(output_file(path)) as file, rc_context({"svg.hashsalt": "dal"}):
        figure.savefig(file, format=path.suffix[1:], dpi=200, metadata=metadata)


def draw_curves(axes: Axes, groups: Sequence[Group], x: Sequence[ArrayLike], styles: Styles) -> None:
    """Draw one line per group: the mean primary metric in percent.

    Groups with two or more seeds have a band, the 95 % t interval over seeds. A single run on test labels that people
    gave has the Wilson interval as its band. ``x`` has (T,) positions per group.
    """
    alpha = min(0.15, 0.6 / len(groups))  # many overlapping bands would hide the lines
    for group, at in zip(groups, x, strict=True):  # in legend order: best last accuracy first
        mean, half_width = (100 * a for a in group.mean_curve)
        style = styles[group.name]
        every = max(1, len(group.labels) // 20)
        order = 2 if group.acquisition == BASELINE else 3
        axes.plot(at, mean, label=figure_text(group.name), markersize=4.5, markevery=every, zorder=order, **style)
        if len(group.runs) > 1:
            low, high = mean - half_width, mean + half_width
            axes.fill_between(at, low, high, color=style["color"], alpha=alpha, linewidth=0, zorder=1)
        elif (ends := group.test_intervals) is not None:
            axes.fill_between(at, *(100 * ends), color=style["color"], alpha=alpha, linewidth=0, zorder=1)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def limits(groups: Sequence[Group]) -> tuple[float, float]:
    """Return the limits of the metric axis, in percent.

    With two seeds, a band can be wider than all curves together. The limits thus extend the range of the curves by at
    most a quarter on each side, and stay near 0 to 100.
    """
    values = np.concatenate([100 * group.accuracy.ravel() for group in groups])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    span = max(high - low, 1.0)
    return max(low - span / 4, -1.0), min(high + span / 4, 101.0)


def limit(axes: Axes, groups: Sequence[Group]) -> None:
    """Restrict the metric axis to limits()."""
    (bottom, top), (low, high) = axes.get_ylim(), limits(groups)
    axes.set_ylim(max(bottom, low), min(top, high))


def metric_label(groups: Sequence[Group]) -> str:
    """Return the axis label, such as ``Test accuracy (%)``."""
    return f"Test {in_words(groups[0].metric)} (%)"


def title_of(groups: Sequence[Group]) -> str:
    """Return a title with data set, seeds and the band's meaning."""
    counts = sorted({len(group.runs) for group in groups})
    seeds = f"{counts[0]} seed{'s' if counts[-1] > 1 else ''}"
    if len(counts) > 1:
        seeds = f"{counts[0]} to {counts[-1]} seeds"
    band = ", band: 95 % interval of the mean" if counts[-1] > 1 else ""
    if any(group.test_intervals is not None for group in groups):
        band = f"{band} or of the test labels" if band else ", band: 95 % interval of the test labels"
    return f"{figure_text(groups[0].data)}, {seeds}{band}"


def tested_groups(runs: Iterable[Run], axis: str = UNITS) -> list[Group]:
    """Group runs, without the groups whose accuracy is not known.

    Raises DalError as group_runs does if none is left.
    """
    runs = list(runs)
    groups = [group for group in group_runs(runs, untested=True, axis=axis) if group.is_tested]
    return groups or group_runs(runs, axis=axis)


def styles_of(groups: Sequence[Group]) -> Styles:
    """Return line styles by group name, independent of panel and rank."""
    names = sorted({(group.acquisition, group.name) for group in groups})
    styles: dict[str, dict[str, Any]] = {}
    baselines = [name for acquisition, name in names if acquisition == BASELINE]
    for i, name in enumerate(baselines):
        line, marker = _BASELINE_LINES[i % len(_BASELINE_LINES)], _MARKERS[i % len(_MARKERS)]
        styles[name] = {"color": _BASELINE_COLOR, "linestyle": line, "marker": marker, "linewidth": 1.5}
    for i, name in enumerate(name for acquisition, name in names if acquisition != BASELINE):
        # After all colors are used, markers shift by one and dashes change. Pairs of color and marker repeat after
        # 49 groups, pairs of color and dashes after 28.
        marker = _MARKERS[(i + i // len(_COLORS)) % len(_MARKERS)]
        line = _LINES[i // len(_COLORS) % len(_LINES)]
        styles[name] = {"color": _COLORS[i % len(_COLORS)], "linestyle": line, "marker": marker, "linewidth": 1.8}
    return styles
