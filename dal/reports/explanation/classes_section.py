"""The section of classes over rounds: recall, labels bought and the pool's rest in the same columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dal.reports.explanation.drawing import (
    COLORS,
    Spec,
    axis,
    band,
    classes_axis,
    color_bar,
    figure,
    heat,
    line,
    rounds_axis,
    row_height,
)
from dal.reports.explanation.elements import absent, figure_element, paragraph, verdicts
from dal.reports.explanation.view import Section, View
from dal.runs.wilson import wilson_interval

KEY, TITLE = "classes", "Classes over rounds"
DETECTORS = ("learned", "ran_out", "stall")

EVENTS = ("class", "round", "event")
"""Columns of the table ``changes`` of the detector ``learned``: class number, round, and ``learned``, ``lost`` or
``regained``."""
POOL = ("round", "class", "share", "low", "high")
"""Columns of the table ``pool`` of the detector ``ran_out``: the share of a class in the pool, from 0 to 1, with the
ends of its interval."""

FEW = 20
"""Test points of a class, below which its cells are hatched."""
_NAMED = len(COLORS)

_SYMBOLS = {
    "learned": ("learned", "circle", "white"),
    "regained": ("learned again", "circle-dot", "white"),
    "lost": ("lost", "x", "--cross"),
}


def classes_section(view: View) -> Section:
    """Return the section."""
    parts = [verdicts(view.of(*DETECTORS)), paragraph(view.left_out, "caption")]
    figures = {}
    if view.known_rounds:
        ordered, marks = "in the order in which classes were learned", "Ring: learned. Cross: lost. "
        if view.table("learned", "changes", EVENTS) is None:
            ordered, marks = "the highest of the last round first", ""
        caption = (
            f"Recall on the test set, {ordered}. {marks}Strokes: fewer than {FEW} test images, so the number says "
            "little. Hover for counts and 95 % intervals."
        )
        parts.append(figure_element("recall", "Recall of each class by round", caption))
        figures["recall"] = _recall(view)
    else:
        parts.append(absent("Recall of each class by round", _no_tests(view)))
    named = named_classes(view)
    if view.history.new_labels.any():
        parts.append(figure_element("bought", "Labels bought by class, in the same columns", _named_caption(view)))
        figures["bought"] = _bought(view, named)
    else:
        parts.append(absent("Labels bought by class", "The run has no record of the labels of its queries."))
    pool, sentence = _pool(view, named)
    if pool is None:
        parts.append(absent("What is left in the pool, by class", sentence))
    else:
        parts.append(figure_element("pool", "What is left in the pool, by class", sentence))
        figures["pool"] = pool
    return Section(KEY, TITLE, parts, figures)


def named_classes(view: View) -> list[int]:
    """Return the classes with a color: those of findings first, then those with the lowest recall."""
    found = [
        (-finding.weight, number)
        for one in view.of(*DETECTORS, "collect")
        for finding in one.findings
        for number in finding.classes
    ]
    last = view.last_recall
    lowest = np.argsort(np.where(np.isnan(last), 2.0, last), kind="stable").tolist()
    chosen = dict.fromkeys([number for _, number in sorted(found)] + lowest)
    return sorted(list(chosen)[:_NAMED])


def order(view: View) -> list[int]:
    """Return the shown classes from bottom to top: the last learned first, then by recall."""
    events = view.table("learned", "changes", EVENTS)
    learned: dict[int, int] = {}
    if events is not None:
        first = events[events["event"] == "learned"].groupby("class")["round"].min()
        learned = dict(zip(first.index.astype(int), first.astype(int), strict=True))
    never = view.history.num_rounds
    last = view.last_recall

    def key(number: int) -> tuple[int, float, int]:
        return learned.get(number, never), -np.nan_to_num(last[number]), number

    return sorted(view.classes, key=key, reverse=True)


def _no_tests(view: View) -> str:
    if view.has_test:
        return "No round has records of the test predictions, nor a confusion matrix in the journal."
    return "There is no test set, so what was learned and lost cannot be told."


def _recall(view: View) -> Spec:
    classes, rounds = order(view), list(range(view.history.num_rounds))
    recall, counts = view.recall[:, classes].T, view.test_counts[:, classes].T
    text = [
        [_cell(view, number, at, recall[row, at], counts[row, at]) for at in rounds]
        for row, number in enumerate(classes)
    ]
    rows = list(range(len(classes)))
    traces = [
        heat(
            100 * recall,
            rounds,
            rows,
            text=text,
            hoverinfo="text",
            colorscale="--sequential",
            zmin=0,
            zmax=100,
            colorbar=color_bar("Recall (%)"),
        ),
        *_hatched(counts, rows),
        *_events(view, classes),
    ]
    height = row_height(len(classes)) * len(classes)
    return figure(
        traces,
        height + 110,
        f"Heat map of the recall of {len(classes)} classes over {len(rounds)} rounds",
        xaxis=rounds_axis(view),
        yaxis=classes_axis(view, classes),
        align="rounds",
    )


def _cell(view: View, number: int, at: int, recall: float, count: int) -> str:
    where = f"{view.name(number)}, round {at}"
    if not count:
        return f"{where}: not tested"
    right = round(recall * count)
    low, high = wilson_interval(right, int(count))
    return f"{where}<br>{right} of {count} right: {recall:.0%} ({100 * low:.0f} to {100 * high:.0f} %)"


def _hatched(counts: NDArray[np.int64], rows: list[int]) -> list[Spec]:
    few = [(at, row) for row in rows for at, count in enumerate(counts[row]) if 0 < count < FEW]
    if not few:
        return []
    marker = {"symbol": "line-ne-open", "size": 9, "line": {"width": 1, "color": "--strokes"}, "color": "--strokes"}
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": f"fewer than {FEW} test images",
            "hoverinfo": "skip",
            "x": [x for x, _ in few],
            "y": [y for _, y in few],
            "marker": marker,
        }
    ]


def _events(view: View, classes: list[int]) -> list[Spec]:
    events = view.table("learned", "changes", EVENTS)
    if events is None:
        return []
    place = {number: row for row, number in enumerate(classes)}
    traces = []
    size = 12 if len(classes) <= 40 else 8
    for event, (name, symbol, color) in _SYMBOLS.items():
        rows = events[(events["event"] == event) & events["class"].isin(classes)]
        if len(rows):
            border = {"width": 1.2, "color": "white"} if event == "lost" else {"width": 2, "color": "--border"}
            marker = {"symbol": symbol, "size": size, "color": color, "line": border}
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "hoverinfo": "skip",
                    "marker": marker,
                    "x": rows["round"].astype(int).tolist(),
                    "y": [place[int(number)] for number in rows["class"]],
                }
            )
    return traces


def _named_caption(view: View) -> str:
    if view.history.num_classes <= _NAMED:
        return ""
    return f"{_NAMED} classes have a color: those of findings, then those with the lowest recall."


def _bought(view: View, named: list[int]) -> Spec:
    new, rounds = view.history.new_labels, list(range(view.history.num_rounds))
    bars = [(view.name(number), new[:, number], COLORS[at]) for at, number in enumerate(named)]
    others = np.delete(new, named, axis=1).sum(axis=1)
    if new.shape[1] > len(named):
        bars.append((f"{new.shape[1] - len(named)} other classes", others, "--other"))
    traces = [
        {
            "type": "bar",
            "name": name,
            "x": rounds,
            "y": counts.tolist(),
            "marker": {"color": color},
            "hovertemplate": "Round %{x}: %{y} labels<extra>%{fullData.name}</extra>",
        }
        for name, counts, color in bars
    ]
    return figure(
        traces,
        280,
        "Bars of the labels bought by class and round",
        barmode="stack",
        xaxis=rounds_axis(view),
        yaxis=axis("Labels bought"),
        align="rounds",
    )


def _pool(view: View, named: list[int]) -> tuple[Spec | None, str]:
    table = view.table("ran_out", "pool", POOL)
    if table is not None and table["share"].notna().any():
        sentence = (
            "Estimated from the predictions on the pool and the confusion matrix. Bands are intervals, of "
            "classes with a finding."
        )
        return _shares(view, named, table), sentence
    known = [(at, pool) for at, pool in enumerate(view.history.pool) if pool is not None and pool.counts.sum()]
    if not known:
        return None, "No round has records of the predictions on the pool."
    parts = [
        pd.DataFrame({"round": at, "class": np.arange(len(pool.counts)), "share": pool.counts / pool.counts.sum()})
        for at, pool in known
    ]
    sentence = "Shares of the predictions on the pool. They contain the errors of the model, so they are no estimate."
    return _shares(view, named, pd.concat(parts)), sentence


def _shares(view: View, named: list[int], table: pd.DataFrame) -> Spec:
    traces = []
    found = {number for one in view.of(*DETECTORS) for finding in one.findings for number in finding.classes}
    for at, number in enumerate(named):
        rows = table[table["class"] == number].sort_values("round")
        x = rows["round"].astype(int).tolist()
        group = {"legendgroup": str(number)}
        if "low" in rows and number in found:
            traces.append(band(x, 100 * rows["low"], 100 * rows["high"], at, **group))
        hover = "Round %{x}: %{y:.1f} % of the pool<extra>%{fullData.name}</extra>"
        traces.append(line(x, 100 * rows["share"], view.name(number), at, hovertemplate=hover, **group))
    return figure(
        traces,
        280,
        "Lines of the share of each class in the pool by round",
        xaxis=rounds_axis(view),
        yaxis=axis("Share of the pool (%)", rangemode="tozero"),
        align="rounds",
    )
