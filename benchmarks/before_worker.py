"""Runs selection kernels of the version of dal on PYTHONPATH, for the column "before" of speed.py.

This module has no command: see selection_cases.py. It uses only names that versions before these kernels have.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Arguments = dict[str, Any]


def start(work: str, arguments: Arguments) -> Callable[[], tuple[float, Tensor]] | None:
    """Return a run of the checkout that DAL_BEFORE names to CPU seconds and the result, or None without it."""
    checkout = os.environ.get("DAL_BEFORE")
    if not checkout:
        return None
    processes: list[subprocess.Popen[str]] = []
    kept = tempfile.TemporaryDirectory()
    folder = Path(kept.name)

    def run() -> tuple[float, Tensor]:
        if not processes:
            torch.save(arguments, folder / "arguments.pt")
            command = [sys.executable, __file__, work, str(folder)]
            environment = os.environ | {"PYTHONPATH": checkout}
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            weakref.finalize(run, _end, process, kept)
            processes.append(process)
        (process,) = processes
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("run\n")
        process.stdin.flush()
        return float(process.stdout.readline()), torch.load(folder / "result.pt")

    return run


def commit() -> str | None:
    """Return the commit of the checkout that DAL_BEFORE names, or None without it."""
    checkout = os.environ.get("DAL_BEFORE")
    if not checkout:
        return None
    command = ["git", "-C", checkout, "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _end(process: subprocess.Popen[str], kept: tempfile.TemporaryDirectory[str]) -> None:
    process.kill()
    process.wait()
    kept.cleanup()


def _alfa_mix(arguments: Arguments) -> Tensor:
    from dal.acquisition import ALFAMix

    class Head:
        def features(self, x: Tensor) -> Tensor:
            return x

        def head(self, features: Tensor) -> Tensor:
            return torch.nn.functional.linear(features, arguments["weight"], arguments["bias"])

    function, model = ALFAMix().with_labeled({"features": arguments["labeled"]}, arguments["labels"]), Head()
    with torch.inference_mode():
        tiles = [function.summarize(model, tile)["changes"] for tile in arguments["x"].split(arguments["tile"])]  # type: ignore[arg-type]
    return torch.cat(tiles).sum(dim=1)


def _nearest(arguments: Arguments) -> Tensor:
    from dal.acquisition.search.clusters import nearest_to_centers

    return nearest_to_centers(arguments["x"].double(), arguments["centers"])


def _clusters(arguments: Arguments) -> Tensor:
    from dal.acquisition.search.clusters import k_means

    return k_means(arguments["x"].double(), arguments["count"], torch.Generator().manual_seed(0))[0]


def _probcover(arguments: Arguments) -> Tensor:
    from dal.acquisition import probcover_select

    x = arguments["x"]
    return probcover_select(x, x[:0], arguments["picks"], arguments["delta"], torch.Generator().manual_seed(0))


def _linkage(arguments: Arguments) -> Tensor:
    from dal.acquisition import average_linkage

    return average_linkage(arguments["x"], arguments["count"])


def _coreset(arguments: Arguments) -> Tensor:
    from dal.acquisition import k_center_greedy

    return k_center_greedy(arguments["x"], arguments["known"], arguments["picks"])


def _badge(arguments: Arguments) -> Tensor:
    from dal.acquisition import badge_select

    drawn = torch.Generator().manual_seed(0)
    return badge_select(arguments["probs"], arguments["features"], arguments["picks"], drawn)


_FEW = 500

WORK = {
    "alfa_mix": _alfa_mix,
    "nearest": _nearest,
    "clusters": _clusters,
    "probcover": _probcover,
    "linkage": _linkage,
    "coreset": _coreset,
    "badge": _badge,
}


def serve(work: str, folder: Path) -> None:
    """Run the work once for each line of the input, and print the CPU seconds. A run on a few points warms up."""
    torch.set_num_threads(1)
    arguments, run = torch.load(folder / "arguments.pt"), WORK[work]
    run(arguments | {name: arguments[name][:_FEW] for name in ("x", "probs", "features") if name in arguments})
    for _ in sys.stdin:
        begin = time.process_time()
        result = run(arguments)
        taken = time.process_time() - begin
        torch.save(result, folder / "result.pt")
        print(taken, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
