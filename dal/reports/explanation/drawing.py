"""Parts of figures for Plotly. Colors are names of the page's style, such as ``--blue``, so that themes can differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dal.reports.explanation.view import View
from dal.reports.offline.markup import plotly_text

Spec = dict[str, Any]

COLORS = ("--blue", "--vermilion", "--green", "--purple", "--orange", "--sky", "--ink")
"""The palette of Okabe and Ito, in the order of contrast."""
DASHES = ("solid", "dash", "dot", "dashdot")


def numbers(values: ArrayLike, digits: int = 4) -> list[Any]:
    """Return nested lists of numbers for JSON, with None for NaN and infinity.

    >>> numbers([0.5, float("nan")])
    [0.5, None]
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim > 1:
        return [numbers(row, digits) for row in array]
    return [round(float(value), digits) if math.isfinite(value) else None for value in array]


def figure(traces: Sequence[Spec], height: int, description: str, /, **layout: Any) -> Spec:
    """Return a figure. ``description`` is its text for screen readers.

    ``align`` gives it the left and right ends of all figures by round. ``ends`` says that a small screen shows the ends
    of its names rather than their starts. ``multiples`` is its number of panels. The page shows a key of all traces
    with a name, unless ``key`` is False.
    """
    ours: Spec = {key: layout.pop(key) for key in ("align", "multiples", "key", "ends") if key in layout}
    return {"data": list(traces), "layout": {"height": height, **layout}, "description": description, **ours}


def axis(title: str, **more: Any) -> Spec:
    """Return an axis with a title."""
    return {"title": {"text": plotly_text(title)}, **more}


def rounds_axis(view: View, **more: Any) -> Spec:
    """Return the axis of rounds, with the labels bought below their numbers."""
    count = view.history.num_rounds
    step = max(1, math.ceil(count / 16))
    ticks = list(range(0, count, step))
    return {
        "title": {"text": "Round, with labels bought"},
        "tickvals": ticks,
        "ticktext": [view.columns[at] for at in ticks],
        "range": [-0.5, max(count, 4) - 0.5],
        "zeroline": False,
        "showgrid": False,
        "tickangle": 0,
        **more,
    }


def classes_axis(view: View, classes: Sequence[int]) -> Spec:
    """Return the axis of a heat map with a row for each class."""
    return {
        "tickvals": list(range(len(classes))),
        "ticktext": [view.short(number) for number in classes],
        "range": [-0.5, len(classes) - 0.5],
        "showgrid": False,
        "zeroline": False,
    }


def heat(z: ArrayLike, x: Sequence[Any], y: Sequence[Any], /, **more: Any) -> Spec:
    """Return a heat map. NaN is empty."""
    return {
        "type": "heatmap",
        "showlegend": False,
        "z": numbers(z),
        "x": list(x),
        "y": list(y),
        "xgap": 1,
        "ygap": 1,
        **more,
    }


def color_bar(title: str, **more: Any) -> Spec:
    """Return the legend of a heat map."""
    return {"title": {"text": plotly_text(title), "side": "right"}, "thickness": 12, "outlinewidth": 0, **more}


def line(x: Sequence[Any], y: ArrayLike, name: str, at: int = 0, /, **more: Any) -> Spec:
    """Return a line with markers in the ``at``-th color."""
    style: Mapping[str, Any] = {
        "line": {"color": COLORS[at % len(COLORS)], "dash": DASHES[at // len(COLORS) % len(DASHES)], "width": 2},
        "marker": {"color": COLORS[at % len(COLORS)], "size": 6},
    }
    return {"type": "scatter", "mode": "lines+markers", "name": name, "x": list(x), "y": numbers(y), **style, **more}


def band(x: Sequence[Any], low: ArrayLike, high: ArrayLike, at: int = 0, /, **more: Any) -> Spec:
    """Return the band between two lines in the ``at``-th color."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*x, *reversed(x)],
        "y": [*numbers(high), *reversed(numbers(low))],
        "fill": "toself",
        "fillcolor": f"{COLORS[at % len(COLORS)]}-band",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
        **more,
    }


def row_height(rows: int, least: int = 12, most: int = 30, room: int = 480) -> int:
    """Return the pixels of a row of a heat map.

    >>> row_height(10), row_height(100)
    (30, 12)
    """
    return max(least, min(most, room // max(rows, 1)))
