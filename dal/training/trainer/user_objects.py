"""Resets the user's callbacks, loggers and plugins for each round."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial, wraps
from types import FunctionType, MethodType
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from dal.errors import DalError, bad_value
from dal.runtime.lightning_package import is_callback

_COPIED = ("accelerator", "strategy", "plugins", "profiler")
"""Options whose objects hold state of a Trainer."""


class _FirstState:
    """The attributes that a callback had when dal first saw it."""

    def __init__(self, callback: Any, module: nn.Module | None) -> None:
        self._first = _attributes(callback)
        try:
            self._first = self.copy(module)
        except Exception as error:
            raise _not_copied(f"trainer.callbacks: {type(callback).__name__}", error) from error
        self.leave(callback)

    def copy(self, module: nn.Module | None) -> dict[str, Any]:
        return deepcopy(self._first, _shared(module))

    def is_of(self, callback: Any) -> bool:
        """Return whether the callback has not changed since the last round."""
        return self._left == _identities(callback)

    def leave(self, callback: Any) -> None:
        self._left = _identities(callback)


_known: WeakKeyDictionary[Any, _FirstState] = WeakKeyDictionary()


def remember(callbacks: Sequence[Any], module: nn.Module | None) -> None:
    """Save the state of these callbacks, from which each round starts.

    Raises DalError if a state cannot be copied.
    """
    for callback in callbacks:
        if is_callback(callback) and (callback not in _known or not _known[callback].is_of(callback)):
            _known[callback] = _FirstState(callback, module)


@contextmanager
def new_callbacks(callbacks: Sequence[Any], module: Any, round: int) -> Iterator[list[Any]]:
    """Yield the callbacks of a round in their original state.

    The objects stay the same, so that their attributes can be read after the round. A function is called to create a
    callback. The callbacks that the module's own ``configure_callbacks()`` returns are reset too.
    """
    made = [callback if is_callback(callback) else made_by(callback, round) for callback in callbacks]
    other = next((callback for callback in made if not is_callback(callback)), None)
    if other is not None:
        raise bad_value("trainer.callbacks", "a function that creates a callback", other)
    given = [callback for callback in callbacks if is_callback(callback)]
    _reset(given, module)
    attributes = vars(module)
    before = {name: attributes[name] for name in ("configure_callbacks",) if name in attributes}
    configure = module.configure_callbacks

    @wraps(configure)
    def configure_callbacks() -> Any:
        found = configure()
        own = [callback for callback in as_list(found) if is_callback(callback)]
        _reset(own, module)
        given.extend(own)
        return found

    attributes["configure_callbacks"] = configure_callbacks
    try:
        yield made
    finally:
        del attributes["configure_callbacks"]
        attributes.update(before)
        for callback in given:
            _known[callback].leave(callback)


def _reset(callbacks: Sequence[Any], module: nn.Module) -> None:
    remember(callbacks, module)
    for callback in callbacks:
        vars(callback).clear()
        vars(callback).update(_known[callback].copy(module))


@contextmanager
def continued_loggers(loggers: Sequence[Any], round: int | None, steps_before: int) -> Iterator[list[Any]]:
    """Yield the loggers of a round, with steps continued from earlier rounds.

    Each entry also has the number of the round, except for the final model. A function is called to create a logger,
    whose run ends with the round.
    """
    made = [logger if hasattr(logger, "log_metrics") else made_by(logger, round) for logger in loggers]
    other = next((logger for logger in made if not hasattr(logger, "log_metrics")), None)
    if other is not None:
        raise bad_value("trainer.logger", "a function that creates a logger", other)
    changed = [logger for logger in made if hasattr(logger, "__dict__")]
    for logger in changed:
        logger.log_metrics = partial(_log_later, logger.log_metrics, round, steps_before)
    try:
        yield made
    finally:
        for logger in changed:
            vars(logger).pop("log_metrics", None)
        for logger, given in zip(made, loggers, strict=True):
            if logger is not given:
                _end_run(logger)


def new_plugins(options: Mapping[str, Any], round: int) -> dict[str, Any]:
    """Return the options with copies of objects that hold Trainer state.

    Raises DalError if an object cannot be copied.
    """
    made = dict(options)
    for name in set(_COPIED) & made.keys():
        if is_factory(made[name]):
            made[name] = made_by(made[name], round)
            continue
        try:
            made[name] = deepcopy(made[name])
        except Exception as error:
            raise _not_copied(f"trainer.{name}", error) from error
    return made


def as_list(given: Any) -> list[Any]:
    """Return the value of ``callbacks`` or ``logger`` as a list."""
    if given is None or isinstance(given, bool):
        return []
    return list(given) if isinstance(given, list | tuple | set) else [given]


def is_factory(thing: Any) -> bool:
    """Return whether a value is a function that creates objects."""
    return isinstance(thing, FunctionType | MethodType | partial)


def made_by(factory: Any, round: int | None) -> Any:
    """Call a factory, passing the round if it takes an argument."""
    takes_round = bool(inspect.signature(factory).parameters)
    return factory(round) if takes_round else factory()


def _log_later(
    log_metrics: Any, round: int | None, before: int, metrics: Mapping[str, Any], step: int | None = None
) -> None:
    found = dict(metrics) if round is None else {**metrics, "round": round}
    log_metrics(found, None if step is None else step + before)


def _end_run(logger: Any) -> None:
    """End the run of a logger that leaves its end to the user, such as that of Weights & Biases.

    The logger of the next round would otherwise continue this run.
    """
    # Reading ``experiment`` would create a run.
    run = vars(logger).get("_experiment")
    end = next((getattr(run, name) for name in ("finish", "end", "stop") if hasattr(type(run), name)), None)
    if end is not None:
        end()
        # A function may return one logger for all rounds.
        logger._experiment = None


def _identities(callback: Any) -> dict[str, int]:
    # Holding the attributes would keep the Trainer alive, so hold their ids.
    return {name: id(value) for name, value in vars(callback).items()}


def _attributes(callback: Any) -> dict[str, Any]:
    # Remove the logging functions that a Trainer stores in its callbacks.
    found = dict(vars(callback))
    return {k: v for k, v in found.items() if not (k in ("log", "log_dict") and isinstance(v, MethodType))}


def _shared(module: nn.Module | None) -> dict[int, Any]:
    """Return a deepcopy memo with which copies refer to the same module."""
    if module is None:
        return {}
    parts = [*module.modules(), *module.parameters(), *module.buffers()]
    return {id(part): part for part in parts}


def _not_copied(what: str, error: Exception) -> DalError:
    first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return bad_value(what, "an object whose state can be copied for each round, or a function that creates one", first)
