"""Calls several callbacks as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytorch_lightning as pl

_NOT_HOOKS = ("on_save_checkpoint", "on_load_checkpoint")
"""Methods that Lightning calls without checking that they are functions."""
_HOOKS = [
    name
    for name in dir(pl.Callback)
    if (name.startswith("on_") or name in ("setup", "teardown")) and name not in _NOT_HOOKS
]


class Together(pl.Callback):
    """Calls the hooks of several callbacks in order.

    At every batch, Lightning calls each hook of each callback, and its profiler, even if the hook does nothing. A round
    of a small network spends a tenth of its time on such calls. Hooks that no callback defines are None, which
    Lightning skips.

    >>> class Count(pl.Callback):
    ...     def on_train_start(self, trainer, pl_module):
    ...         print("start")
    >>> both = Together([Count(), Count()])
    >>> both.on_train_start(None, None), both.on_train_end
    start
    start
    (None, None)
    """

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self.callbacks = list(callbacks)
        found: dict[str, list[Callable[..., Any]]] = {hook: [] for hook in _HOOKS}
        for callback in self.callbacks:
            for hook in _defined(callback.__class__):
                found[hook].append(getattr(callback, hook))
        vars(self).update({hook: _in_order(functions) for hook, functions in found.items()})


@cache
def _defined(kind: type[Any]) -> list[str]:
    """Return the hooks that a class of callbacks defines."""
    # A class of another Lightning package inherits the empty hooks of both packages.
    empty = [vars(base) for base in kind.__mro__ if base.__name__ == "Callback"]
    return [hook for hook in _HOOKS if all(getattr(kind, hook) is not hooks.get(hook) for hooks in empty)]


def _in_order(functions: list[Callable[..., Any]]) -> Callable[..., Any] | None:
    if len(functions) < 2:
        return functions[0] if functions else None

    def call(*args: Any, **kwargs: Any) -> None:
        for function in functions:
            function(*args, **kwargs)

    return call
