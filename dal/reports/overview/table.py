"""Summary of runs as a terminal table and as CSV."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Group as Stack
from rich.table import Table
from rich.text import Text

from dal.analysis.axis import SECOND, UNITS, noun
from dal.costs.kinds import cost_key
from dal.costs.prices import human
from dal.reports.spreadsheet import spreadsheet_csv
from dal.runs.files.atomic import write_text
from dal.runs.files.output import output_file
from dal.runs.round import in_words, on_test
from dal.runs.wilson import in_percent
from dal.runtime.safe_text import visible

_CAPTION = (
    "Means over seeds ± half the width of their 95 % t interval. {title}: on the test set after the last round. Area: "
    "mean {metric} along the learning curve. Δ random: area minus that of random, seed by seed, same settings. "
)
_BOUGHT = "In brackets: 95 % Wilson interval from the test labels that people gave. "
_COSTS = "Costs are of a run: "
_SECONDS = "seconds of training; of scoring and selecting."
_FLOPS = "FLOPs of training and validating; of scoring and selecting; seconds and FLOPs without testing."
_MONEY = " Cost: labels and compute."


def summary_table(summary: pd.DataFrame) -> Stack:
    """Return the result of summarize_runs as rich tables, one per data set.

    Metrics are in percent. A caption explains the columns.

    >>> from rich.console import Console
    >>> line = {"data": "digits", "acquisition": "margin", "settings": "", "seeds": 1, "labels": 60,
    ...         "metric": "accuracy", "test_accuracy": 0.9123, "area": 0.8, "area_minus_random": 0.05, "note": "",
    ...         "seconds_train": 1.0, "seconds_method": 1.5, "flops_train": 2e12, "flops_score": 1e9,
    ...         "money_total": 6.5, "currency": "EUR"}
    >>> with (console := Console(width=100)).capture() as captured:
    ...     console.print(summary_table(pd.DataFrame([line])))
    >>> [text for text in captured.get().splitlines() if "margin" in text][0].split()
    ['margin', '1', '60', '91.2', '80.0', '+5.0', '2.00', 'T', '1.00', 'G', '1.5', '6.50']
    """
    tables: list[Table | Text] = []
    for data, lines in summary.groupby("data", sort=False):
        tables.append(_table(str(data), lines))
    costs = _FLOPS if summary["flops_train"].notna().any() else _SECONDS
    money = _MONEY if summary["money_total"].notna().any() else ""
    metric = " or ".join(map(in_words, summary["metric"].unique()))
    caption = _CAPTION.format(title=metric[:1].upper() + metric[1:], metric=metric)
    if "num_test" in summary:
        caption += _BOUGHT
    return Stack(*tables, Text(f"{caption}{_COSTS}{costs}{money}", style="dim"))


def write_csv(summary: pd.DataFrame, path: Path) -> None:
    """Write the summary as CSV, with empty fields for undefined numbers."""
    write_text(output_file(path), spreadsheet_csv(summary))


def _table(data: str, lines: pd.DataFrame) -> Table:
    table = Table(
        title=Text(visible(data), style="bold"),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,  # leaves room for the names in 100 columns
    )
    table.add_column("function", overflow="fold", min_width=min(16, max(map(len, lines["acquisition"]))))
    metric = in_words(lines["metric"].iloc[0]).replace(" ", "\n")
    bought = _bought(lines)
    for column in ("seeds", *bought.values(), f"{metric}\n%", "area\n%", "Δ random\npoints"):
        table.add_column(column, justify="right", no_wrap=True)
    has_flops, has_money = (bool(lines[c].notna().any()) for c in ("flops_train", "money_total"))
    # FLOPs already separate training from scoring, and 110 columns are then enough.
    costs = ["train\nFLOPs", "score\nFLOPs", "time\ns"] if has_flops else ["train\ns", "score\ns"]
    costs += [f"cost\n{visible(str(lines['currency'].iloc[0]))}"] if has_money else []
    for column in costs:
        table.add_column(column, justify="right", no_wrap=True)
    notes = []
    for _, line in lines.iterrows():
        name = ", ".join(filter(None, [line["acquisition"], line["settings"]]))
        table.add_row(
            Text("\n".join(map(visible, filter(None, [line["acquisition"], *line["settings"].split(", ")])))),
            str(line["seeds"]),
            *(f"{line[column]:,.0f}" for column in bought),
            _accuracy(line),
            _percent(line, "area"),
            _percent(line, "area_minus_random", sign="+"),
            *_costs(line, has_flops),
            *([_money(line["money_total"])] if has_money else []),
        )
        if line["note"]:
            notes.append(visible(f"{name}: {line['note']}."))
    if notes:
        table.caption = Text("\n".join(notes))
    return table


def _bought(lines: pd.DataFrame) -> dict[str, str]:
    """Return the columns with what was bought, and their titles: the axis, and clicks if they are recorded."""
    axis = str(lines["axis"].iloc[0]) if "axis" in lines else UNITS
    clicks = cost_key(SECOND)
    shows_clicks = axis != SECOND and clicks in lines and lines[clicks].notna().all()
    return {"labels": noun(axis).replace(" ", "\n")} | ({clicks: noun(SECOND)} if shows_clicks else {})


def _accuracy(line: pd.Series) -> str:
    """Return the metric on the test set in percent, with the interval of test labels that people gave."""
    metric = on_test(line["metric"])
    low, high = (line.get(f"{metric}_{end}", math.nan) for end in ("low", "high"))
    return _percent(line, metric) + ("" if math.isnan(low) else f" ({in_percent((low, high))})")


def _percent(line: pd.Series, column: str, sign: str = "") -> str:
    """Return a fraction in percent, with its interval if defined."""
    value, half_width = line[column], line.get(f"{column}_interval", math.nan)
    if math.isnan(value):
        return "–"
    mean = f"{100 * value:{sign}.1f}"
    return mean if math.isnan(half_width) else f"{mean} ± {100 * half_width:.1f}"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f}" if seconds < 100 else f"{seconds:,.0f}"


def _costs(line: pd.Series, has_flops: bool) -> list[str]:
    if has_flops:
        return [_flops(line["flops_train"]), _flops(line["flops_score"]), _seconds(line["seconds_method"])]
    return [_seconds(line["seconds_train"]), _seconds(line["seconds_score_select"])]


def _flops(flops: float) -> str:
    return "–" if math.isnan(flops) else human(flops).strip()


def _money(money: float) -> str:
    return "–" if math.isnan(money) else f"{money:,.2f}" if money < 9999.995 else f"{money:,.0f}"
