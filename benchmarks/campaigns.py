"""Runs whole campaigns, each in a separate process with one thread.

This module has no command: see compute_saving.py and full_data.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def chosen(function: str) -> list[str]:
    """Convert ``bald:num_draws=100`` to overrides."""
    name, _, parameter = function.partition(":")
    return [f"acquisition={name}", *([f"acquisition.{parameter}"] if parameter else [])]


def run(command: list[str]) -> bool:
    """Run one campaign in a separate process, and return whether it succeeded.

    If it fails, the function prints the end of its errors.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "dal", *command], env=environment, capture_output=True, text=True)
    print(f"{'done' if done.returncode == 0 else 'FAILED'}: dal {' '.join(command)}", flush=True)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr, flush=True)
    return done.returncode == 0


def commits(folders: Sequence[Path]) -> list[str]:
    """Return the commits at which the runs first started."""
    return sorted({start["git_commit"] for start in _starts(folders)})


def first_start(folders: Sequence[Path]) -> str:
    """Return the start time of the first run."""
    return min(str(start["started"]) for start in _starts(folders))


def _starts(folders: Sequence[Path]) -> list[dict[str, Any]]:
    files = [folder / "environment.jsonl" for folder in folders]
    return [json.loads(file.read_text(encoding="utf-8").splitlines()[0]) for file in files]
