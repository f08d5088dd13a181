"""The section of training: losses within a round, and labeled and test accuracy by round."""

from __future__ import annotations

import numpy as np

from dal.analysis.diagnosis.history import Checks
from dal.reports.explanation.drawing import Spec, axis, figure, line, numbers, rounds_axis
from dal.reports.explanation.elements import absent, figure_element, verdicts
from dal.reports.explanation.view import Section, View

KEY, TITLE = "training", "Training"
DETECTORS = ("onset",)

ONSETS = ("round", "update")
"""Columns of the table ``onsets`` of the detector ``onset``: the update from which the held-out loss rises."""

_MOST_ROUNDS, _COLUMNS = 12, 4


def training_section(view: View) -> Section:
    """Return the section."""
    parts, figures = [verdicts(view.of(*DETECTORS))], {}
    if not view.history.has_records:
        return Section(KEY, TITLE, [*parts, view.facts.orders])
    known = [
        (at, checks) for at, checks in enumerate(view.history.checks) if checks is not None and len(checks.updates)
    ]
    title = "Loss within rounds"
    if known:
        shown = known[-_MOST_ROUNDS:]
        held_out = shown[-1][1].held_out_of
        left_out = f" Shown are the last {len(shown)} of {len(known)} rounds." if len(shown) < len(known) else ""
        caption = (
            f"Mean cross-entropy by update on labeled points and on {held_out} points. Dotted line: the update from "
            f"which the held-out loss rises.{left_out}"
        )
        parts.append(figure_element("checks", title, caption))
        figures["checks"] = _checks(view, shown)
    else:
        reason = "The rounds have no checks during training. Set diagnosis.checks, such as diagnosis.checks=10."
        parts.append(absent(title, reason))
    labeled = [
        float((trained.predicted == trained.label).mean()) if trained is not None and len(trained.label) else np.nan
        for trained in view.history.trained
    ]
    title = "Accuracy on labeled and on test points"
    if np.isnan(labeled).all() and not view.known_rounds:
        parts.append(absent(title, "No round has records of its predictions."))
    else:
        caption = (
            "An acquisition function chooses hard points, so the labeled points can be harder than the test points. "
            "The gap alone is no sign of overfitting."
        )
        parts.append(figure_element("gap", title, caption))
        figures["gap"] = _gap(view, labeled)
    parts.append(view.facts.orders)
    return Section(KEY, TITLE, [part for part in parts if part], figures)


def _checks(view: View, shown: list[tuple[int, Checks]]) -> Spec:
    onsets = view.table("onset", "onsets", ONSETS)
    marks = {} if onsets is None else dict(zip(onsets["round"].astype(int), onsets["update"], strict=True))
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    traces, layout, shapes, titles = [], {}, [], []
    highest = max(float(np.nanmax(np.asarray(c.held_out_loss, np.float64).mean(1))) for _, c in shown)
    for place, (at, checks) in enumerate(shown):
        number = "" if place == 0 else str(place + 1)
        x = checks.updates.tolist()
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}", "showlegend": place == 0, "marker": {"size": 4}}
        hover = "Update %{x}: %{y:.3f} nats<extra>%{fullData.name}</extra>"
        for color, (name, losses) in enumerate((("held out", checks.held_out_loss), ("labeled", checks.labeled_loss))):
            mean = np.asarray(losses, np.float64).mean(axis=1)
            traces.append(line(x, mean, name, color, legendgroup=name, hovertemplate=hover, **axes))
        layout[f"xaxis{number}"] = {"anchor": f"y{number}", "nticks": 4}
        layout[f"yaxis{number}"] = {"anchor": f"x{number}", "range": [0, 1.05 * highest], "nticks": 4}
        titles.append(
            {
                "text": f"Round {at}",
                "xref": f"x{number} domain",
                "yref": f"y{number} domain",
                "x": 0.5,
                "y": 1.0,
                "yanchor": "bottom",
                "showarrow": False,
            }
        )
        if at in marks:
            shapes.append(
                {
                    "type": "line",
                    "xref": f"x{number}",
                    "yref": f"y{number} domain",
                    "y0": 0,
                    "y1": 1,
                    "x0": float(marks[at]),
                    "x1": float(marks[at]),
                    "line": {"dash": "dot", "width": 2, "color": "--ink"},
                }
            )
    grid = {"rows": rows, "columns": columns, "pattern": "independent", "xgap": 0.18, "ygap": 0.32}
    return figure(
        traces,
        170 * rows + 60,
        "Lines of the loss by update, one panel a round",
        grid=grid,
        annotations=titles,
        shapes=shapes,
        margin={"t": 30},
        multiples=len(shown),
        **layout,
    )


def _gap(view: View, labeled: list[float]) -> Spec:
    tested, right = view.test_counts.sum(axis=1), view.test_right.sum(axis=1)
    test = np.divide(right, tested, out=np.full(len(tested), np.nan), where=tested > 0)
    rounds = list(range(view.history.num_rounds))
    hover = "Round %{x}: %{y:.1f} %<extra>%{fullData.name}</extra>"
    traces = [
        line(rounds, 100 * np.array(labeled), "labeled points", 1, hovertemplate=hover),
        line(rounds, 100 * test, "test points", 0, hovertemplate=hover),
    ]
    traces = [trace for trace in traces if any(value is not None for value in numbers(trace["y"]))]
    return figure(
        traces,
        280,
        "Lines of the accuracy on labeled and on test points by round",
        xaxis=rounds_axis(view),
        yaxis=axis("Accuracy (%)"),
        align="rounds",
    )
