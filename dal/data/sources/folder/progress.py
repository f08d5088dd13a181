"""Shows the progress of reading files."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dal.runtime.console import SafeConsole

_SILENT_SECONDS = 2.0


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal, after a short delay."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.progress import Progress

    bar = Progress(console=SafeConsole(stderr=True), transient=True)
    task = bar.add_task("Checking images", total=total)
    begun = time.monotonic()

    def advance(count: int) -> None:
        bar.advance(task, count)
        if time.monotonic() - begun > _SILENT_SECONDS:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()
