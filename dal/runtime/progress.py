"""The interface of progress callbacks."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[str, int, int], None]
"""Receives (phase, done, total), for example ("score", 512, 60000)."""


def silent(phase: str, done: int, total: int) -> None:
    """Ignore all progress."""
