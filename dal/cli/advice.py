"""Advises what to do next with a finished run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from dal.runs.layout import ANY_DYNAMICS


def advise(console: Console, config: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> None:
    """Print what a user can do with a finished run."""
    other = "random" if config["acquisition"]["name"] != "random" else "margin"
    kept = [a for a in overrides if not a.lstrip("+~").startswith(("acquisition", "run_dir"))]
    if any(a.startswith("run_dir=") for a in overrides):
        kept.append(f"run_dir={path}-{other}")
    together = path.parent.parent if path.name == f"seed{config['seed']}" else path.parent
    again = {shlex.join(["dal", "run", f"acquisition={other}", *kept]): "the same campaign with another function"}
    if config.get("oracle", {}).get("kind") == "people":  # they would label everything once more
        again = {shlex.join(["dal", "replay", str(path)]): "the same picks and weights again, from the answers"}
    advice = again | {
        shlex.join(["dal", "report", str(together)]): "all learning curves in one figure",
        shlex.join(["dal", "rank", str(path)]): "the rest of the pool, most useful first",
    }
    if any(path.glob(ANY_DYNAMICS)):
        advice[shlex.join(["dal", "explain", str(path)])] = "what it learned, and what to collect next"
    advice["dal run --help"] = "all settings"
    width = min(60, max(map(len, advice)))
    console.print("\nWhat to try next:")
    for command, what in advice.items():
        console.print(f"  {command:<{width}}   {what}")
