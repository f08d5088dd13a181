"""Writes the results of benchmarks.

A result has a CSV and a JSON file per part, one plot, and a README. The README covers all parts of the day in
benchmarks/results/NAME_YYYY-MM-DD. Running one part again replaces that part only.

This module has no command: see speed.py, scale.py and gpu.py.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from harness import Row
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from dal.runs.environment import environment
from dal.runs.files.atomic import replacing, write_text

HERE = Path(__file__).parent
RESULTS = HERE / "results"
# Results of --quick runs are not meaningful, so they go to a folder that git ignores.
QUICK_RESULTS = HERE.parent / "runs" / "benchmarks" / "quick"
PEERS = ("baal", "scikit-activeml", "small-text", "threadpoolctl")


def facts_now(**more: Any) -> dict[str, Any]:
    """Return the environment of a part.

    Call this function before you write results, which make the working tree dirty.
    """
    versions = {name: _version(name) for name in PEERS}
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    return environment() | versions | {"command": command} | more


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def dated(results: Path, name: str) -> Path:
    folder = results / f"{name}_{datetime.now(UTC):%Y-%m-%d}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_part(folder: Path, part: str, rows: Sequence[Row], facts: dict[str, Any]) -> None:
    """Write the rows and facts of one part, replacing earlier ones."""
    with replacing(folder / f"{part}.csv") as file:
        file.write(pd.DataFrame(rows).to_csv(index=False, float_format="%.6g").encode())
    write_text(folder / f"{part}.json", json.dumps(facts, indent=1) + "\n")


def write_readme(
    folder: Path,
    title: str,
    about: str,
    parts: dict[str, str],
    summarize: Callable[[list[Row]], list[Row]] | None = None,
) -> None:
    """Write a README of the existing parts.

    ``parts`` maps their names, in order, to descriptions. ``summarize`` reduces the rows of a part to a smaller table,
    which precedes the full one.
    """
    lines = [f"# {title}", "", about, ""]
    for part, text in parts.items():
        if not (folder / f"{part}.csv").exists():
            continue
        rows = pd.read_csv(folder / f"{part}.csv")
        facts = json.loads((folder / f"{part}.json").read_text(encoding="utf-8"))
        lines += [f"## {part}", "", text, "", "```sh", facts["command"], "```", ""]
        records = rows.astype(object).where(rows.notna(), None).to_dict("records")
        lines += [*(markdown(summarize(records)) if summarize else []), *markdown(records)]
        lines += [f"![{part}]({part}.png)", ""] if (folder / f"{part}.png").exists() else []
        lines += ["```json", json.dumps(facts, indent=1), "```", ""]
    write_text(folder / "README.md", "\n".join(lines))


def markdown(rows: Iterable[Row]) -> list[str]:
    """Return a heading and a table per case.

    Rows without cases are one table.
    """
    lines: list[str] = []
    for heading, group in by_case(rows).items():
        cells = [shown(row) for row in group]
        head = list(cells[0])
        table = [head, ["---" if name in _TEXT else "---:" for name in head], *(list(row.values()) for row in cells)]
        lines += [*([f"### {heading}", ""] if heading else []), *("| " + " | ".join(line) + " |" for line in table), ""]
    return lines


def print_table(console: Console, title: str, rows: Iterable[Row]) -> None:
    """Print one table per case, or one table for rows without cases."""
    for heading, group in by_case(rows).items():
        table = Table(title=heading or title, title_justify="left")
        for name in shown(group[0]):
            table.add_column(name, justify="left" if name in _TEXT else "right")
        for row in group:
            table.add_row(*shown(row).values())
        console.print(table)


def by_case(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Group the rows by their common columns, and remove these columns."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        heading = ""
        if "case" in row:
            heading = row["case"]
            if "threads" in row:
                heading += f", {row['threads']} thread{'s' if row['threads'] > 1 else ''}"
        groups.setdefault(heading, []).append({k: v for k, v in row.items() if k not in ("case", "threads")})
    return groups


_TEXT = ("contender", "note", "varied", "products", "target")
_HEADS = {
    "median_s": "median s",
    "min_s": "min s",
    "max_s": "max s",
    "ratio": "to floor",
    "extra_mib": "extra MiB",
    "gb": "GB",
    "gflop": "GFLOP",
    "bandwidth_share": "of bandwidth",
    "arithmetic_share": "of arithmetic",
}


def shown(row: Row) -> dict[str, str]:
    """Format a row as text, with readable column names."""
    return {_HEADS.get(key, key): _text(key, value) for key, value in row.items()}


def _text(key: str, value: Any) -> str:
    if value is None:
        return "–" if key not in _TEXT else ""
    if key == "ratio":
        return f"{value:.2f}x"
    if key.endswith("_share"):
        return f"{100 * value:.3g} %"
    if key == "extra_mib":
        return f"{value:,.0f}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 or (value.is_integer() and abs(value) >= 1) else f"{value:.3g}"
    return str(value)


def pictured(folder: Path, part: str) -> bool:
    """Whether to plot the part.

    A result has one plot, that of its first part.
    """
    return all(picture.stem == part for picture in folder.glob("*.png"))


_COLORS = {"floor": "#7F7F7F", "dal": "#0072B2"}
_PEER_COLOR = "#E69F00"


def plot_bars(path: Path, title: str, rows: Sequence[Row]) -> None:
    """Plot median seconds as bars, one panel per case.

    The axis is logarithmic. Whiskers show minimum and maximum.
    """
    rows = [row for row in rows if row["median_s"] is not None]
    if not rows:
        return
    panels = by_case(rows)
    counts = [len(panel) for panel in panels.values()]
    # Inches: a bar, the title of a panel with its margins, the title and axis of the figure.
    height = 0.3 * sum(counts) + 0.42 * len(panels) + 1.1
    figure = Figure(figsize=(8.6, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=counts)[:, 0]
    for axis, (name, panel) in zip(axes, panels.items(), strict=True):
        places = range(len(panel))
        medians = [row["median_s"] for row in panel]
        spread = [[m - row["min_s"] for m, row in zip(medians, panel, strict=True)]]
        spread += [[row["max_s"] - m for m, row in zip(medians, panel, strict=True)]]
        colors = [_COLORS.get(row["contender"].split(",")[0].split(" ")[0], _PEER_COLOR) for row in panel]
        axis.barh(places, medians, 0.68, color=colors, xerr=spread, error_kw={"lw": 0.9, "capsize": 2, "ecolor": "0.2"})
        for place, row in zip(places, panel, strict=True):
            text = f"{row['median_s']:.3g} s" + (f"   {row['ratio']:.2f}x" if row["ratio"] else "")
            axis.annotate(text, (row["max_s"], place), (6, 0), textcoords="offset points", va="center", fontsize=8)
        axis.set_yticks(places, [row["contender"] for row in panel], fontsize=8.5)
        axis.set_ylim(len(panel) - 0.5, -0.5)
        axis.set_title(name, loc="left", fontsize=9.5)
        axis.grid(axis="x", color="0.9", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_xscale("log")
    axes[-1].xaxis.set_major_formatter("{x:g}")
    low, high = min(row["min_s"] for row in rows), max(row["max_s"] for row in rows)
    # A fifth of the log axis leaves space for the text behind the longest bar.
    axes[0].set_xlim(low / 2, high * (2 * high / low) ** 0.28)
    axes[-1].set_xlabel("seconds (log): median, minimum and maximum; and the ratio to the floor", fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=160)
