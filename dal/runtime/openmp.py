"""Sets how long threads of PyTorch wait actively for one another."""

from __future__ import annotations

import os

_SPINS = "10000"
"""A thirtieth of the default of GNU OpenMP."""


def wait_briefly() -> None:
    """Let idle threads sleep soon, so that a busy machine does not slow down training.

    If another program needs a core, a thread of PyTorch waits for one that does not run. By default, it keeps its own
    core busy meanwhile. The environment variables of OpenMP, GOMP_SPINCOUNT and OMP_WAIT_POLICY, take precedence. This
    has an effect only before PyTorch is imported, and changes no result.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
