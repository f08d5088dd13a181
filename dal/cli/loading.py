"""What happens while a command loads its libraries, which takes seconds."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STOPPED = b"Stopped before the command started.\n"
_INTERRUPTED = 130


@contextmanager
def loading() -> Iterator[None]:
    """End the process with one line on Ctrl-C, and collect no garbage, until the block ends.

    A KeyboardInterrupt could reach the user as another error, because libraries catch errors of their imports. A
    handler that is not Python's default one stays.
    """
    collects = gc.isenabled()
    gc.disable()  # imports create no garbage worth the passes over all that is imported
    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, _stop)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if collects:
            gc.enable()


def _stop(*signaled: object) -> None:
    try:
        os.write(2, _STOPPED)
    finally:
        os._exit(_INTERRUPTED)
