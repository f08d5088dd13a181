"""Records the environment of a run: versions, hardware and git commit."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

from dal import __version__
from dal.runs.files.atomic import append_text
from dal.runs.files.committed import read_bytes
from dal.runs.files.state import is_count
from dal.runs.layout import ENVIRONMENT

PACKAGES = ("torch", "torchvision", "numpy", "pytorch-lightning", "torchmetrics", "hydra-core", "scikit-learn")

_MOST_THREADS = 1024

_DAL = ("dal", "__main__.py", "cell_process.py")


def environment() -> dict[str, Any]:
    """Return a flat record with the same keys on every machine.

    Unknown values are None.
    """
    program = Path(sys.argv[0]).name
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["dal" if program in _DAL else program, *sys.argv[1:]]),
        "dal": __version__,
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain")),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "system": platform.platform(),
        "cpu": _cpu(),
        "cpu_cores": psutil.cpu_count(logical=True),
        "cpu_threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": gpus,
        "cuda": torch.version.cuda if gpus else None,
    }


DECIDES_BITS = ("torch", "pytorch-lightning", "cpu", "cpu_threads", "gpus")
"""Keys of environment() that can change how a training rounds."""


def recorded_environments(folder: Path) -> list[dict[str, Any]]:
    """Return the records of all starts of a run, the first one first. Lines that are not whole do not count.

    Raises DalError for a file that cannot be read.
    """
    found = []
    data = read_bytes(folder, ENVIRONMENT) if os.path.lexists(folder / ENVIRONMENT) else b""
    for line in data.decode(errors="replace").splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


def record_start(folder: Path, trains: bool) -> None:
    """Append this start to the records of a run. If it trains, warn if it uses another number of threads."""
    if trains:
        warn_of_other_threads(folder)
    append_text(folder / ENVIRONMENT, json.dumps(environment()) + "\n")


def recorded_threads(starts: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the number of threads of the last start, or None if no number is recorded."""
    threads: Any = starts[-1].get("cpu_threads") if starts else None
    return threads if is_count(threads) and 0 < threads <= _MOST_THREADS else None


def warn_of_other_threads(folder: Path) -> None:
    """Warn if the last start of a run used another number of threads, because sums then round differently."""
    before, now = recorded_threads(recorded_environments(folder)), torch.get_num_threads()
    if before not in (None, now):
        warnings.warn(
            f"cpu_threads: the run used {before}, and this process uses {now}, so weights can differ in the last bits. "
            f"Set OMP_NUM_THREADS={before} for the same weights.",
            stacklevel=2,
        )


def other_environment(recorded: Sequence[Mapping[str, Any]], now: Mapping[str, Any]) -> str:
    """Say what differs between the starts of a run and now, or return an empty text.

    >>> other_environment([{"torch": "2.13", "cpu_threads": 1}], {"torch": "2.14", "cpu_threads": 1})
    'The run used torch 2.13 (now 2.14), so numbers may round differently.'
    """
    parts = []
    for key in DECIDES_BITS:
        before = list(dict.fromkeys(str(record[key]) for record in recorded if key in record))
        if before and before != [str(now.get(key))]:
            parts.append(f"{key} {' and '.join(before)} (now {now.get(key)})")
    return f"The run used {', '.join(parts)}, so numbers may round differently." if parts else ""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Run git in the folder that dal is imported from.

    Returns None if it fails.
    """
    folder = Path(__file__).parent
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
