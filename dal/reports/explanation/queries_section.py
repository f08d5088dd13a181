"""The section of the queries: how surprising their labels were, and what each did to each class."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dal.reports.explanation.drawing import Spec, classes_axis, color_bar, figure, heat, rounds_axis, row_height
from dal.reports.explanation.elements import absent, figure_element, paragraph, table_element, verdicts
from dal.reports.explanation.refits_part import refit_parts
from dal.reports.explanation.view import Section, View
from dal.runs.refits import CLASS, ROUND

KEY, TITLE = "queries", "What the queries did"
DETECTORS = ("queries", "information", "association")

EFFECTS = ("round", "class", "loss_change")
"""Columns of the table ``effect`` of the detector ``queries``: the round of the query, a class number, and the mean
test loss of the class with the query minus without it, in nats. Above 0, the query harms the class."""


def queries_section(view: View) -> Section:
    """Return the section."""
    parts, figures = [verdicts(view.of(*DETECTORS)), paragraph(view.left_out, "caption")], {}
    parts += refit_parts(view, ROUND, CLASS)
    bits = surprise(view)
    if not view.history.has_records:
        parts += ["<h3>Queries</h3>", _table(view, bits, None)]
        return Section(KEY, TITLE, parts)
    title = "Surprise of the labels, by class and round"
    if np.isnan(bits).all():
        parts.append(absent(title, "No round has records of its points from before it trained on them."))
    else:
        caption = (
            "Bits a label: -log2 of the probability that the model of the round before gives to the told class. A "
            f"guess among {len(view.history.classes)} has {math.log2(max(view.history.num_classes, 2)):.1f} bits."
        )
        parts.append(figure_element("surprise", title, caption))
        figures["surprise"] = _surprise(view, bits)
    title = "What each query did to each class"
    effects = _effects(view)
    if effects is None:
        unknown = next((one.quiet for one in view.of("queries") if one.unknown), "")
        parts.append(absent(title, unknown or "The run has no record of the features that this needs."))
    else:
        caption = (
            "Change of the loss on the test images of a class if the last layer is fitted without the labels of the "
            "query, given the final features. Blue: the query helps the class. Orange: it harms."
        )
        parts.append(figure_element("effects", title, caption))
        figures["effects"] = _effect_map(view, effects)
    parts += ["<h3>Queries</h3>", _table(view, bits, effects)]
    return Section(KEY, TITLE, parts, figures)


def surprise(view: View) -> NDArray[np.float64]:
    """Return (R, C) mean bits of the labels of each class that a round bought; NaN without such labels."""
    history = view.history
    bits = np.full((history.num_rounds, history.num_classes), np.nan)
    for at, trained in enumerate(history.trained):
        if trained is None or at >= history.num_rounds:
            continue
        new = np.isfinite(trained.before) & (trained.bought == at)
        counts = np.bincount(trained.label[new], minlength=history.num_classes)
        sums = np.bincount(trained.label[new], -trained.before[new] / math.log(2), minlength=history.num_classes)
        np.divide(sums, counts, out=bits[at], where=counts > 0)
    return bits


def _surprise(view: View, bits: NDArray[np.float64]) -> Spec:
    history = view.history
    classes, rounds = view.classes[::-1], list(range(history.num_rounds))
    text = [
        [
            f"{view.name(number)}, round {at}<br>{bits[at, number]:.2f} bits a label, "
            f"{history.new_labels[at, number]} labels"
            for at in rounds
        ]
        for number in classes
    ]
    bar = color_bar("Bits a label")
    trace = heat(
        bits[:, classes].T,
        rounds,
        list(range(len(classes))),
        text=text,
        hoverinfo="text",
        colorbar=bar,
        colorscale="--sequential",
        zmin=0,
    )
    return _map(view, trace, classes, "Heat map of the surprise by class and round")


def _map(view: View, trace: Spec, classes: list[int], description: str) -> Spec:
    return figure(
        [trace],
        row_height(len(classes)) * len(classes) + 90,
        description,
        xaxis=rounds_axis(view),
        yaxis=classes_axis(view, classes),
        align="rounds",
    )


def _effects(view: View) -> NDArray[np.float64] | None:
    """Return (R, C) gains, the negative changes of the loss; NaN where unknown."""
    table = view.table("queries", "effect", EFFECTS)
    if table is None:
        return None
    effects = np.full((view.history.num_rounds, view.history.num_classes), np.nan)
    effects[table["round"].astype(int), table["class"].astype(int)] = -table["loss_change"]
    return effects


def _effect_map(view: View, effects: NDArray[np.float64]) -> Spec:
    classes, rounds = view.classes[::-1], list(range(view.history.num_rounds))
    most = float(np.nanmax(np.abs(effects))) or 1.0
    text = [
        [f"Query of round {at}, {view.name(number)}<br>{effects[at, number]:+.4f} nats" for at in rounds]
        for number in classes
    ]
    bar = color_bar("Gain (nats)")
    trace = heat(
        effects[:, classes].T,
        rounds,
        list(range(len(classes))),
        text=text,
        hoverinfo="text",
        colorbar=bar,
        colorscale="--diverging",
        zmid=0,
        zmin=-most,
        zmax=most,
    )
    return _map(view, trace, classes, "Heat map of the effect of each query on each class")


def _table(view: View, bits: NDArray[np.float64], effects: NDArray[np.float64] | None) -> str:
    history = view.history
    header = ["Round", "Mostly", "Labels", "Bits a label"]
    if effects is not None:
        header += ["Helps most", "Harms most", "Mean gain (nats)"]
    rows = []
    for at in range(history.num_rounds):
        new = history.new_labels[at]
        mostly = ", ".join(f"{view.short(int(k))} ({new[k]})" for k in np.argsort(-new, kind="stable")[:2] if new[k])
        known = np.isfinite(bits[at]) & (new > 0)
        mean = f"{np.average(bits[at, known], weights=new[known]):.2f}" if known.any() else "–"
        row = [str(at), mostly or "–", f"{int(history.query_sizes[at]):,}", mean]
        if effects is not None:
            row += _extremes(view, effects[at])
        rows.append(row)
    return table_element(header, rows, 2, "queries")


def _extremes(view: View, effects: NDArray[np.float64]) -> list[str]:
    if np.isnan(effects).all():
        return ["–", "–", "–"]
    best, worst = int(np.nanargmax(effects)), int(np.nanargmin(effects))
    return [
        f"{view.short(best)} ({effects[best]:+.3f})" if effects[best] > 0 else "–",
        f"{view.short(worst)} ({effects[worst]:+.3f})" if effects[worst] < 0 else "–",
        f"{np.nanmean(effects):+.4f}",
    ]
