"""Runs one cell of a grid as a process.

``python -m dal.cli.cell_process run KEY=VALUE...`` is ``dal run``, but it also ends when its standard input ends. So no
cell outlives a killed sweep.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

_GRACE_SECONDS = 20.0


def end_with_standard_input() -> None:
    """Interrupt the process when standard input ends, then exit."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(_GRACE_SECONDS)
        os._exit(130)

    threading.Thread(target=watch, name="dal-end-with-input", daemon=True).start()


if __name__ == "__main__":
    end_with_standard_input()  # first, because the import below takes seconds
    from dal.cli.main import main

    main(sys.argv[1:])
