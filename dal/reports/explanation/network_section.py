"""The section of the network: how its layers change, and whether its width and depth are used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dal.analysis.diagnosis.history import Layers
from dal.reports.explanation.drawing import (
    Spec,
    axis,
    band,
    color_bar,
    figure,
    heat,
    line,
    numbers,
    rounds_axis,
    row_height,
)
from dal.reports.explanation.elements import absent, figure_element, verdicts
from dal.reports.explanation.refits_part import refit_parts
from dal.reports.explanation.view import Section, View, layer_labels
from dal.reports.offline.markup import plotly_text
from dal.runs.refits import DEPTH, WIDTH
from dal.runs.wilson import wilson_interval

KEY, TITLE = "network", "The network"
DETECTORS = ("stability", "capacity")

_SHORT, _MOST_TICKS = 18, 48
"""Letters of the name of a layer below a figure, and most of these names."""

CHURN = ("round", "of", "points", "share", "low", "high")
"""Columns of the table ``churn`` of the detector ``stability``: the share of predictions that changed since the round
before, with the ends of its interval, and whether the points are of the ``stop`` or the ``test`` set."""
PROBES = ("layer", "points", "accuracy")
"""Columns of the table ``probes`` of the detector ``capacity``, in the order of the layers: the name of a layer, and
the accuracy of a linear readout of it on so many test points, from 0 to 1."""


def network_section(view: View) -> Section:
    """Return the section."""
    parts, figures = [verdicts(view.of(*DETECTORS)), *refit_parts(view, WIDTH, DEPTH)], {}
    if not view.history.has_records:
        return Section(KEY, TITLE, parts)
    layers = [one for one in view.history.layers if one is not None]
    for key, title, caption, name in (
        (
            "change",
            "Change of the weights, by layer and round",
            "Norm of the change since the round before, divided by the norm before.",
            "change",
        ),
        (
            "cka",
            "Similarity of the outputs to the round before, by layer and round",
            "Unbiased linear CKA on the same images: 1 is the same up to rotation and scale. A low value is not a low "
            "accuracy.",
            "cka",
        ),
    ):
        values = _by_layer(view, name)
        if values is None:
            parts.append(absent(title, _no_layers(view, bool(layers), name)))
        else:
            parts.append(figure_element(key, title, caption))
            figures[key] = _map(view, values, name)
    title = "Predictions that a round changes"
    churn = view.table("stability", "churn", CHURN)
    if churn is None:
        parts.append(absent(title, "There are no predictions of two rounds in a row on the same points."))
    else:
        of = "stop set" if churn["of"].iloc[-1] == "stop" else "test set"
        caption = (
            f"Share of the {int(churn['points'].iloc[-1]):,} points of the {of} whose predicted class differs from the "
            "round before, with 95 % intervals."
        )
        parts.append(figure_element("churn", title, caption))
        figures["churn"] = _churn(view, churn)
    _add_probes(view, parts, figures)
    if layers:
        caption = (
            "Effective rank of the outputs of the last round, divided by their width: near 1, a layer uses all of its "
            "channels. Hover for the numbers."
        )
        parts.append(figure_element("rank", "Effective rank over width, by layer", caption))
        figures["rank"] = _rank(layers[-1])
    else:
        parts.append(absent("Effective rank over width, by layer", _no_layers(view, False, "rank")))
    return Section(KEY, TITLE, parts, figures)


def _no_layers(view: View, recorded: bool, name: str) -> str:
    if recorded and name == "change" and "scratch" in view.history.starts:
        return "Rounds start from new weights, so changes of the weights have no meaning."
    if recorded:
        return "There are no two rounds in a row with records of the layers."
    return "No round has records of the layers."


def _by_layer(view: View, name: str) -> tuple[list[str], NDArray[np.float64]] | None:
    """Return names of layers and (K, R) values, or None if all are unknown."""
    history = view.history
    names = list(dict.fromkeys(str(name) for one in history.layers if one is not None for name in one.names))
    place = {name: row for row, name in enumerate(names)}
    values = np.full((len(names), history.num_rounds), np.nan)
    for at, one in enumerate(history.layers):
        if one is not None:
            values[[place[str(name)] for name in one.names], at] = getattr(one, name)
    return None if not values.size or np.isnan(values).all() else (names, values)


def _map(view: View, found: tuple[list[str], NDArray[np.float64]], name: str) -> Spec:
    names, values = found
    rounds, rows = list(range(view.history.num_rounds)), list(range(len(names)))
    word = "Change" if name == "change" else "CKA"
    text = [[f"{plotly_text(names[row])}, round {at}<br>{word} {values[row, at]:.4f}" for at in rounds] for row in rows]
    scale = {"colorscale": "--sequential", "zmin": 0}
    if name == "cka":
        scale = {"colorscale": "--sequential-reversed", "zmin": min(0.8, float(np.nanmin(values))), "zmax": 1}
    trace = heat(
        values,
        rounds,
        rows,
        text=text,
        hoverinfo="text",
        colorbar=color_bar(word),
        **scale,
    )
    return figure(
        [trace],
        row_height(len(names)) * len(names) + 100,
        f"Heat map of the {word} by layer and round",
        xaxis=rounds_axis(view),
        yaxis={
            "tickvals": rows,
            "ticktext": layer_labels(names),
            "range": [len(rows) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
        },
        align="rounds",
        ends=True,
    )


def _churn(view: View, churn: pd.DataFrame) -> Spec:
    hover = "Round %{x}: %{y:.1f} % changed<extra></extra>"
    x = churn["round"].astype(int).tolist()
    traces = [
        band(x, 100 * churn["low"], 100 * churn["high"], 0),
        line(x, 100 * churn["share"], "changed predictions", 0, hovertemplate=hover),
    ]
    return figure(
        traces,
        260,
        "Line of the share of changed predictions by round",
        xaxis=rounds_axis(view),
        key=False,
        yaxis=axis("Changed predictions (%)", rangemode="tozero"),
        align="rounds",
        ends=True,
    )


def _add_probes(view: View, parts: list[str], figures: dict[str, Spec]) -> None:
    title = "What a linear readout of each layer can tell"
    table = view.table("capacity", "probes", PROBES)
    if table is None:
        parts.append(absent(title, "The run has no features of its layers, which this needs."))
        return
    caption = "Test accuracy of a linear readout of a layer, fitted on the labeled points, with 95 % intervals."
    parts.append(figure_element("probes", title, caption))
    names = [str(name) for name in table["layer"]]
    x = list(range(len(names)))
    ends = np.array(
        [
            wilson_interval(round(float(accuracy) * int(points)), int(points))
            for accuracy, points in zip(table["accuracy"], table["points"], strict=True)
        ]
    )
    shares = [f"{plotly_text(name)}: {value:.1%}" for name, value in zip(names, table["accuracy"], strict=True)]
    traces = [
        band(x, 100 * ends[:, 0], 100 * ends[:, 1], 0),
        line(x, 100 * table["accuracy"], "readout", 0, hovertext=shares, hoverinfo="text"),
    ]
    figures["probes"] = figure(
        traces,
        300,
        "Line of the accuracy of linear readouts by layer",
        xaxis=_layer_axis(names),
        yaxis=axis("Accuracy (%)"),
        key=False,
    )


def _layer_axis(names: Sequence[str]) -> Spec:
    labels = layer_labels(names, _SHORT)
    ticks = list(range(0, len(names), -(-len(names) // _MOST_TICKS)))
    return axis("Layer", tickvals=ticks, ticktext=[labels[at] for at in ticks], range=[-0.5, len(names) - 0.5])


def _rank(layers: Layers) -> Spec:
    share = np.divide(layers.rank, layers.width)
    names = [str(name) for name in layers.names]
    text = [
        f"{plotly_text(name)}: effective rank {rank:.1f} of {width} ({value:.0%})"
        for name, rank, width, value in zip(names, layers.rank, layers.width, share, strict=True)
    ]
    trace = {
        "type": "bar",
        "x": list(range(len(names))),
        "y": numbers(share),
        "hovertext": text,
        "hoverinfo": "text",
        "marker": {"color": "--blue"},
    }
    return figure(
        [trace],
        280,
        "Bars of the effective rank over width by layer",
        xaxis=_layer_axis(names),
        yaxis=axis("Rank / width", range=[0, 1]),
        bargap=0.4,
    )
