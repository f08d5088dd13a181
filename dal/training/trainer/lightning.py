"""Lightning Trainer helpers: the Trainer of a round, and signals."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from types import FrameType
from typing import Any

from dal.runtime.lightning_package import LIGHTNING, PYTORCH_LIGHTNING, load, package_of
from dal.training.trainer.user_objects import as_list

_LATER_SECONDS = 0.05
_FABRIC = {PYTORCH_LIGHTNING: "lightning_fabric", LIGHTNING: "lightning.fabric"}
TERMINATED = 143
"""The exit status that a shell reports for a process that SIGTERM ends."""


@dataclass(frozen=True)
class Plan:
    """The length of a round in updates and in Lightning's epochs."""

    max_updates: int
    num_batches: int
    """Batches per epoch."""
    accumulate: int = 1
    """Batches per update."""
    validate_every: int = 0
    """Epochs between two runs of the module's own validation. 0 disables it."""

    @property
    def max_epochs(self) -> int:
        return math.ceil(self.max_updates * self.accumulate / self.num_batches)


def new_trainer(
    module: Any,
    options: Mapping[str, Any],
    callbacks: Sequence[Any],
    plan: Plan,
) -> Any:
    """Create the Trainer of a round, from the module's Lightning package.

    ``callbacks`` are all callbacks, from the user and dal. ``max_epochs`` and ``estimated_stepping_batches`` describe
    the whole round, even if it stops early.
    """
    package = package_of(module) or PYTORCH_LIGHTNING
    defaults = {
        "logger": False,
        "enable_progress_bar": has(callbacks, "ProgressBar"),
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 10,
    }
    options = defaults | dict(options)
    if not plan.validate_every:
        options["limit_val_batches"] = 0
    # With manual optimization, Lightning counts the steps of each optimizer.
    manual = not module.automatic_optimization
    with _one_scan_of_entry_points(package):
        trainer: Any = (_trainer_for_manual_steps(package) if manual else load(package).Trainer)(
            **_without_requeue(options, package),
            callbacks=list(callbacks),
            max_epochs=plan.max_epochs,
            max_steps=-1 if manual else plan.max_updates,
            check_val_every_n_epoch=plan.validate_every or 1,
            enable_checkpointing=has(callbacks, "Checkpoint"),
            use_distributed_sampler=False,
        )
    if manual:
        trainer.max_updates = plan.max_updates
    return trainer


def has(callbacks: Sequence[Any], kind: str) -> bool:
    """Return whether a callback is of a kind such as ``"Checkpoint"``."""
    packages = {package_of(callback) for callback in callbacks} - {None}
    kinds = tuple(getattr(load(f"{package}.callbacks"), kind) for package in packages)
    return any(isinstance(callback, kinds) for callback in callbacks)


def is_overridden(hook: str, module: Any) -> bool:
    """Return whether the module defines a hook of Lightning."""
    package = package_of(module) or PYTORCH_LIGHTNING
    return bool(load(f"{package}.utilities.model_helpers").is_overridden(hook, module))


@contextmanager
def _one_scan_of_entry_points(package: str) -> Iterator[None]:
    """Keep the entry points of installed packages, among which each Trainer searches for factories of callbacks.

    The search reads a file of every installed package, and takes as long as ten updates of a small network.
    """
    registry = load(f"{_FABRIC[package]}.utilities.registry")
    scan = getattr(registry, "entry_points", None)
    if scan is None:  # another version of Lightning
        yield
        return
    registry.entry_points = _entry_points
    try:
        yield
    finally:
        registry.entry_points = scan


@cache
def _entry_points(group: str) -> Any:
    return entry_points(group=group)


@cache
def _trainer_for_manual_steps(package: str) -> Any:
    parent: Any = load(package).Trainer

    class Trainer(parent):  # type: ignore[misc]
        max_updates = 0

        @property
        def estimated_stepping_batches(self) -> int:
            if self.train_dataloader is None:
                self.fit_loop.setup_data()
            return self.max_updates

    return Trainer


def _without_requeue(options: Mapping[str, Any], package: str) -> dict[str, Any]:
    """Return the options, with Lightning's requeueing of SLURM jobs turned off.

    Lightning resumes a requeued job from a checkpoint, which a round of dal must not load.
    """
    plugins = as_list(options.get("plugins"))
    environment = load(f"{package}.plugins.environments").SLURMEnvironment
    if not environment.detect() or any(hasattr(type(plugin), "global_rank") for plugin in plugins):
        return dict(options)
    return {**options, "plugins": [*plugins, environment(auto_requeue=False)]}


@contextmanager
def keyboard_interrupt() -> Iterator[None]:
    """Restore KeyboardInterrupt and the SIGINT handler.

    On Ctrl-C, Lightning raises SystemExit(1) and leaves SIGINT ignored. A shutdown that fails halfway, such as while
    the Trainer is set up, raises another error instead.
    """
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except (Exception, SystemExit) as error:
        if _follows_interrupt(error):
            raise KeyboardInterrupt from error
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)


@contextmanager
def termination() -> Iterator[None]:
    """End the process with status 143 on SIGTERM, and raise KeyboardInterrupt on SIGINT.

    Lightning ends training at the next batch with status 0, as if the process had finished. In a SLURM job, SIGUSR1
    also asks SLURM to start the job again.
    """
    ours: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handlers: dict[int, Any] = {
            signal.SIGTERM: _terminated,
            signal.SIGUSR1: _requeued,
            signal.SIGINT: _interrupted,
        }
        for number, handler in handlers.items():
            needed = number != signal.SIGUSR1 or "SLURM_JOB_ID" in os.environ
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            if needed and signal.getsignal(number) is default:
                ours[number] = signal.signal(number, handler)
    try:
        yield
    except SystemExit as error:
        # Lightning raises this if another handler was installed before.
        if type(error).__name__ == "SIGTERMException":
            raise SystemExit(TERMINATED) from error
        raise
    finally:
        for number, before in ours.items():
            signal.signal(number, before)


def _terminated(number: int, frame: FrameType | None) -> None:
    if not _comes_again(number, frame):
        raise SystemExit(TERMINATED)


def _interrupted(number: int, frame: FrameType | None) -> None:
    if not _comes_again(number, frame):
        raise KeyboardInterrupt


def _comes_again(number: int, frame: FrameType | None) -> bool:
    """Send a signal again if it came in a finalizer, because Python ignores the exceptions of finalizers."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            later = threading.Timer(_LATER_SECONDS, os.kill, (os.getpid(), number))
            later.daemon = True
            later.start()
            return True
        frame = frame.f_back
    return False


def _requeued(number: int, frame: FrameType | None) -> None:
    job = os.environ["SLURM_JOB_ID"]
    if os.environ.get("SLURM_PROCID", "0") == "0":
        subprocess.run(["scontrol", "requeue", job], check=False)
    raise SystemExit(TERMINATED)


def _follows_interrupt(error: BaseException | None) -> bool:
    """Return whether the error was raised while a KeyboardInterrupt was handled."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False
