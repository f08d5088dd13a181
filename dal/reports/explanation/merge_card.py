"""Cards of pairs that the network does not tell apart: accuracy if they were one class, and images of both errors."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dal.analysis.diagnosis.finding import Finding
from dal.reports.explanation.drawing import Spec, axis, band, figure, line, rounds_axis
from dal.reports.explanation.sprite import Sprite
from dal.reports.explanation.view import View
from dal.reports.offline.markup import escape

PAIRS = ("class_a", "class_b", "accuracy", "accuracy_merged")
"""Columns of the table ``pairs`` of the detector ``merge``: class numbers, the accuracy of the run, and the accuracy if
both were one class."""
CURVES = ("class_a", "class_b", "round", "auc", "low", "high")
"""Columns of its table ``pair_curves``: the AUC of a pair in a round with its interval."""

_MOST_PAIRS, _EXAMPLES, _LEVEL = 6, 6, 0.85


def merge_findings(view: View) -> list[Finding]:
    """Return the findings about pairs."""
    return [finding for one in view.of("merge") for finding in one.findings if len(finding.classes) == 2]


def examples(view: View, one: int, other: int) -> list[int]:
    """Return test points of a class that the last round with any calls the other one."""
    history = view.history
    for at in reversed(history.recorded.tolist()):
        found = np.flatnonzero((history.test_label == one) & (history.test_predicted[at] == other))
        if len(found):
            return [int(position) for position in found[:_EXAMPLES]]
    return []


def merge_cards(view: View, sprite: Sprite | None) -> str:
    """Return the cards as HTML."""
    table = view.table("merge", "pairs", PAIRS)
    cards = []
    for finding in merge_findings(view):
        one, other = finding.classes
        rows = [
            f"<p>{view.name(a)} that the model calls {view.name(b)}</p>{_tiles(view, examples(view, a, b), sprite)}"
            for a, b in ((one, other), (other, one))
        ]
        title = f"{view.name(one)} and {view.name(other)}"
        cards.append(f'<div class="card"><h3>{title}</h3>{_merged(table, one, other)}{"".join(rows)}</div>')
    return "".join(cards)


def _merged(table: pd.DataFrame | None, one: int, other: int) -> str:
    if table is None:
        return ""
    rows = table[table["class_a"].isin((one, other)) & table["class_b"].isin((one, other))]
    if not len(rows):
        return ""
    now, merged = float(rows["accuracy"].iloc[0]), float(rows["accuracy_merged"].iloc[0])
    return f"<p>As one class, the test accuracy would be {100 * merged:.1f} % in place of {100 * now:.1f} %.</p>"


def _tiles(view: View, points: list[int], sprite: Sprite | None) -> str:
    if not points:
        return "<p>none</p>"
    items = []
    for at in points:
        name = view.test_id(at)
        picture = "" if sprite is None else sprite.element(int(view.history.test_index[at]), name)
        items.append(picture or f'<span class="id" title="{escape(name)}">{escape(name)}</span>')
    return f'<div class="tiles">{"".join(items)}</div>'


def pairs_figure(view: View, table: pd.DataFrame) -> Spec:
    """Return the AUC over rounds of the pairs of findings, then of the pairs that are told apart least."""
    found = {tuple(sorted(finding.classes)) for finding in merge_findings(view)}
    last = table.sort_values("round").groupby(["class_a", "class_b"])["auc"].last().sort_values(kind="stable")
    ranked = sorted(last.index, key=lambda pair: tuple(sorted(pair)) not in found)
    traces: list[Spec] = []
    for at, (one, other) in enumerate(ranked[:_MOST_PAIRS]):
        rows = table[(table["class_a"] == one) & (table["class_b"] == other)].sort_values("round")
        x, group = rows["round"].astype(int).tolist(), {"legendgroup": str(at)}
        if at == 0 or tuple(sorted((one, other))) in found:
            traces.append(band(x, rows["low"], rows["high"], at, **group))
        name = f"{view.short(int(one))} / {view.short(int(other))}"
        hover = "Round %{x}: AUC %{y:.2f}<extra>%{fullData.name}</extra>"
        traces.append(line(x, rows["auc"], name, at, hovertemplate=hover, **group))
    limit: Spec = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": _LEVEL,
        "y1": _LEVEL,
        "line": {"dash": "dot", "width": 1.5, "color": "--soft"},
    }
    return figure(
        traces,
        300,
        "Lines of the AUC of pairs by round",
        xaxis=rounds_axis(view),
        yaxis=axis("AUC"),
        shapes=[limit],
        align="rounds",
    )
