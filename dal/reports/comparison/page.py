"""A comparison as one HTML file that works offline."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

from dal.analysis.axis import UNITS, noun, title
from dal.analysis.grouping import Group
from dal.analysis.pairing import Problem
from dal.analysis.statistics.curves import mean_and_interval
from dal.reports.comparison.tables import Table
from dal.reports.drawing import Styles, limits, metric_label, styles_of
from dal.reports.offline.markup import escape, script_json
from dal.reports.offline.packed import NO_FIGURES, UNPACK, content_policy, packed_plotly

_DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
_SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
}
_NAME = "<extra>%{fullData.name}</extra>"
_LEGEND_WIDTH = 40  # characters
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', sans-serif"
_GRID = {"gridcolor": "#e6e6e6", "zeroline": False, "linecolor": "#999999", "ticks": "outside", "tickcolor": "#999999"}


def page(problems: Sequence[Problem], tables: Sequence[Table], sentences: Sequence[str], version: str) -> str:
    """Return the page, which loads no other file.

    It has one section per problem, and then the tables over all problems.
    """
    styles = styles_of([function for problem in problems for function in problem.functions])
    figures = [_figure(problem, styles) for problem in problems]
    parts = []
    for i, problem in enumerate(problems):
        notes = "".join(f"<li>{escape(note[0].upper() + note[1:])}.</li>" for note in problem.notes)
        seeds = f"{len(problem.seeds)} seed{'' if len(problem.seeds) == 1 else 's'}"
        band = "; band: 95 % t interval of the mean" if len(problem.seeds) > 1 else ""
        parts.append(f"<section><h2>{escape(problem.name)}</h2><p class=caption>Mean over {seeds}{band}.</p>")
        parts.append(f'<div class="figure" id="figure{i}"></div>')
        parts.append(f'<ul class="notes">{notes}</ul>' if notes else "")
        parts += [_table(table, "h3") for table in tables if table.problem == problem.name]
        parts.append("</section>")
    parts += [_table(table, "h2") for table in tables if not table.problem]
    script = f"{UNPACK}{_DRAW.substitute(data=script_json(figures))}"
    return _PAGE.substitute(
        policy=content_policy([script]),
        font=_FONT,
        findings="".join(f"<p>{escape(sentence)}</p>" for sentence in sentences),
        body="\n".join(parts),
        version=escape(version),
        no_figures=NO_FIGURES,
        plotly=packed_plotly(),
        script=script,
    )


def _figure(problem: Problem, styles: Styles) -> dict[str, Any]:
    functions = sorted(problem.functions, key=lambda group: (-group.accuracy[:, -1].mean(), group.name))
    opacity = min(0.1, 0.8 / len(functions))  # many overlapping bands would hide the lines
    traces = [trace for function in functions for trace in _traces(function, styles[function.name], opacity)]
    axis, what = {**_GRID, "title": {"text": title(problem.axis)}}, noun(problem.axis)
    scales = [
        (what, {"xaxis.type": "linear", "xaxis.tickmode": "auto"}),
        (f"{what}, log scale", {"xaxis.type": "log", "xaxis.tickmode": "array", "xaxis.tickvals": _log_ticks(problem)}),
    ]
    buttons = [{"label": text, "method": "relayout", "args": [change]} for text, change in scales]
    layout = {
        "font": {"family": _FONT, "size": 13, "color": "#222222"},
        "xaxis": axis,
        "yaxis": {**_GRID, "title": {"text": escape(metric_label(functions))}, "range": list(limits(functions))},
        "plot_bgcolor": "white",
        "paper_bgcolor": "white",
        "hovermode": "closest",
        "legend": {"title": {"text": "click: hide, double click: alone", "font": {"size": 11}}, "tracegroupgap": 0},
        "margin": {"l": 60, "r": 20, "t": 70, "b": 50},
        "height": max(500, 170 + 22 * sum(len(_folded(function.name)) for function in functions)),
        "updatemenus": [
            {"type": "buttons", "direction": "right", "buttons": buttons, "x": 1, "xanchor": "right", "y": 1.02}
            | {"yanchor": "bottom", "pad": {"r": 0, "t": 0, "b": 4}, "font": {"size": 11}, "showactive": True}
        ],
    }
    return {"data": traces, "layout": layout}


def _folded(name: str) -> list[str]:
    return textwrap.wrap(name, _LEGEND_WIDTH)


def _log_ticks(problem: Problem) -> list[int]:
    """Return round ticks in the range of the labels."""
    # Plotly's default ticks on a log axis drop powers of ten: 2, 5, 100, 2.
    first, last = int(problem.labels[0]), int(problem.labels[-1])
    ticks = [n * 10**power for power in range(len(str(last))) for n in (1, 2, 5) if first <= n * 10**power <= last]
    return ticks if len(ticks) > 1 else sorted({first, last})


def _traces(function: Group, style: Mapping[str, Any], opacity: float) -> list[dict[str, Any]]:
    """Return the line, and its band if there are several seeds.

    A click on the legend toggles both.
    """
    mean, half_width = (100 * a for a in mean_and_interval(function.accuracy))
    x, color = function.labels.tolist(), style["color"]
    known = not math.isnan(half_width[0])
    spread = [f" ± {h:.1f}" if known else "" for h in half_width]
    number = "," if function.axis == UNITS else ",.0f"
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "<br>".join(map(escape, _folded(function.name))),
        "legendgroup": function.name,
        "x": x,
        "y": mean.round(4).tolist(),
        "customdata": spread,
        "line": {"color": color, "dash": _DASHES[style["linestyle"]], "width": 2},
        "marker": {"symbol": _SYMBOLS[style["marker"]], "size": 7, "maxdisplayed": 20},
        "hovertemplate": f"%{{x:{number}}} {noun(function.axis)}: %{{y:.1f}}%{{customdata}} %{_NAME}",
    }
    if not known:
        return [line]
    band = {
        "type": "scatter",
        "mode": "lines",
        "legendgroup": function.name,
        "showlegend": False,
        "hoverinfo": "skip",
        "x": [*x, *reversed(x)],
        "y": [*(mean + half_width).round(4).tolist(), *reversed((mean - half_width).round(4).tolist())],
        "fill": "toself",
        "fillcolor": "rgba({}, {}, {}, {:.3f})".format(*(int(color[i : i + 2], 16) for i in (1, 3, 5)), opacity),
        "line": {"width": 0},
    }
    return [band, line]


def _table(table: Table, heading: str) -> str:
    head = "".join(f"<th{_left(i, table)}>{escape(text)}</th>" for i, text in enumerate(table.header))
    rows = []
    for at, row in enumerate(table.rows):
        cells = []
        for i, text in enumerate(row):
            tag = "th" if i < table.names else "td"
            heat = table.heat[at][i - table.names] if table.heat and i >= table.names else 0.0
            shade = f' style="background: rgba(0, 114, 178, {0.6 * heat:.3f})"' if heat > 0 else ""
            cells.append(f"<{tag}{_left(i, table)}{shade}>{escape(text)}</{tag}>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<{heading}>{escape(table.title)}</{heading}><div class="wide"><table class="{table.key}"><thead>'
        f"<tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f"<p class=caption>{escape(table.caption)}</p>"
    )


def _left(column: int, table: Table) -> str:
    return " class=name" if column < table.names else ""


_DRAW = Template("""
const figures = $data;
if (innerWidth < 700) for (const {layout} of figures)  // no room for the legend next to the curves
  Object.assign(layout.legend, {orientation: "h", y: -0.2, title: {text: ""}});
loadPlotly().then((loaded) => loaded && figures.forEach((figure, i) =>
  Plotly.newPlot("figure" + i, figure.data, figure.layout,
    {responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"],
     toImageButtonOptions: {format: "svg"}})));
""")

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
$policy
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Comparison of acquisition functions</title>
<link rel="icon" href="data:,">
<style>
body { font: 15px/1.5 $font; color: #222; background: white; max-width: 1100px; margin: 0 auto; padding: 1.5em 1em 4em }
h1 { font-size: 1.5em; margin: 0 0 .5em }
h2 { font-size: 1.25em; margin: 2em 0 .4em }
h3 { font-size: 1em; margin: 1.8em 0 .3em }
p { margin: .3em 0; max-width: 80ch }
.notes, .caption, footer { color: #666; font-size: .87em }
.notes { padding-left: 1.2em; margin: .2em 0 }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; border-bottom: 1px solid #999 }
th, td { padding: .25em .8em; text-align: right; vertical-align: bottom; white-space: nowrap }
thead th { border-bottom: 1px solid #999; white-space: normal; max-width: 11em; font-weight: 600 }
tbody th { font-weight: normal }
tbody th.name { white-space: normal; max-width: 26em }
th.name { text-align: left; padding-left: 0 }
tbody tr:hover { background: #f4f6f8 }
.penalty td, .penalty thead th { padding: .25em .5em }
.penalty thead th.name { text-align: left }
.penalty tbody tr:last-child { border-top: 1px solid #999 }
footer { margin-top: 3em }
</style>
</head>
<body>
<h1>Comparison of acquisition functions</h1>
$findings
$no_figures
$body
<footer>Made by dal $version with dal compare. The numbers are in the CSV files in the folder of this page.</footer>
$plotly
<script>$script</script>
</body>
</html>
""")
