"""Describes errors of PyTorch and of users' own code in one sentence."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path

from dal.errors import DalError, reason
from dal.runtime.refusals import RefusedBySystem

_PACKAGE = str(Path(__file__).parents[1])
_INSTALLED = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def explanation(error: Exception) -> tuple[str, int] | None:
    """Return a sentence about an error and the exit status, or None for an error of dal itself."""
    if isinstance(error, MemoryError) or _is_out_of_memory(error):
        got = "none left" if isinstance(error, MemoryError) and not str(error) else reason(error)
        advice = "Set a smaller scoring.batch_size and repeat the command, or a smaller training.batch_size in another"
        return f"memory: expected less use, got: {got}. {advice} run_dir.", 1
    place = _own_line(error)
    if place is None or isinstance(error, DalError | RefusedBySystem):
        return None
    file, line = place
    return f"{file}, line {line}: expected no error, got {type(error).__name__}: {reason(error)}.", 2


def _is_out_of_memory(error: Exception) -> bool:
    # Reports fail without loading PyTorch.
    memory = sys.modules.get("dal.runtime.memory")
    return memory is not None and bool(memory.out_of_memory(error))


def _own_line(error: BaseException) -> tuple[str, int] | None:
    """Return the last line of a user's own file that the error passed, or None."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = frame.filename
        if not file.startswith(("<", _PACKAGE, *_INSTALLED)) and frame.lineno is not None:
            return file, frame.lineno
    return None
