"""The section of the run: its learning curve, with marks where a detector found something."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import numpy as np

from dal.costs.prices import human
from dal.reports.explanation.drawing import Spec, axis, figure, line, numbers
from dal.reports.explanation.elements import absent, figure_element, paragraph
from dal.reports.explanation.facts import known
from dal.reports.explanation.view import Section, View
from dal.reports.offline.markup import plotly_text

KEY, TITLE = "run", "The run"

MARKS = {
    "learned": ("A class was lost", "x-thin-open", "--vermilion"),
    "ran_out": ("The pool ran out of a class", "triangle-down-open", "--orange"),
    "queries": ("A query stood out", "square-open", "--purple"),
    "stability": ("A layer jumped", "diamond-open", "--green"),
}
"""Detectors whose findings with a round are marks of the curve: name, symbol and color."""


def run_section(view: View) -> Section:
    """Return the section."""
    facts = view.facts
    count = len(facts.labels)
    costs = [f"{facts.labels[-1]:,} labels in {count} round{'' if count == 1 else 's'}"]
    if (money := known(facts.money, len(facts.labels) - 1)) is not None:
        costs.append(f"{money:,.2f} {facts.currency}")
    if (flops := known(facts.flops, len(facts.labels) - 1)) is not None:
        costs.append(f"{human(flops)}FLOP without testing")
    state = "The run is finished" if facts.finished else "The run is not finished"
    parts = [paragraph(f"{state}: {', '.join(costs)}.")]
    if np.isnan(facts.curve).all():
        reason = "There is no test set, so the accuracy is not known."
        return Section(KEY, TITLE, [*parts, absent(f"Test {facts.metric}", reason)])
    caption = "Marks are findings. Hover for the costs of a round or the sentence of a mark."
    parts.append(figure_element("curve", f"Test {facts.metric} by labels bought", caption))
    return Section(KEY, TITLE, parts, {"curve": _curve(view)})


def _curve(view: View) -> Spec:
    facts = view.facts
    texts = []
    for at, labels in enumerate(facts.labels):
        text = f"Round {at}: {labels:,} labels"
        if (value := known(facts.curve, at)) is not None:
            text += f"<br>{100 * value:.1f} %"
        if (money := known(facts.money, at)) is not None:
            text += f"<br>{money:,.2f} {plotly_text(facts.currency)}"
        if (flops := known(facts.flops, at)) is not None:
            text += f"<br>{human(flops)}FLOP"
        texts.append(text)
    name = f"Test {plotly_text(facts.metric)}"
    traces = [line(facts.labels, 100 * facts.curve, name, hovertext=texts, hoverinfo="text")]
    traces += _marks(view)
    return figure(
        traces,
        360,
        f"Line of the test {facts.metric} over the labels bought",
        xaxis=axis("Labels bought"),
        yaxis=axis(f"Test {facts.metric} (%)"),
    )


def _marks(view: View) -> Iterator[Spec]:
    facts = view.facts
    for detector, (name, symbol, color) in MARKS.items():
        found = [
            (finding.round, finding)
            for one in view.of(detector)
            for finding in one.findings
            if finding.round is not None and finding.round < len(facts.labels)
        ]
        if not found:
            continue
        rounds = [at for at, _ in found]
        yield {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [facts.labels[at] for at in rounds],
            "y": numbers([100 * facts.curve[at] for at in rounds]),
            "hovertext": ["<br>".join(map(plotly_text, textwrap.wrap(finding.sentence, 60))) for _, finding in found],
            "hoverinfo": "text",
            "marker": {"symbol": symbol, "size": 15, "color": color, "line": {"width": 3, "color": color}},
        }
