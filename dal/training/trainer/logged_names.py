"""Finds the names under which a module logs metrics, by an update and a validation of a copy."""

from __future__ import annotations

import copy
import dis
import io
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import pytorch_lightning as pl
import torch

from dal.data.images import ImageData
from dal.runtime.distributed import num_ranks
from dal.runtime.lightning_package import PYTORCH_LIGHTNING, in_package, load, package_of, quiet
from dal.runtime.seeding import isolated_rng
from dal.training.setup import TrainingSetup
from dal.training.trainer.given_datamodule import tried_data
from dal.training.trainer.lightning import Plan, new_trainer
from dal.training.trainer.log_sites import LogSite, codes_in

TRIED_IMAGES = 3
_LEAVES_TRACES = re.compile(
    "open|.*save.*|.*write.*|.*dump.*|to_csv|mkdir|makedirs|unlink|rmtree|system|subprocess|requests|socket|wandb|"
    "mlflow|comet.*|neptune|clearml"
)
"""Names of functions and packages that write files or logs, or send something."""


@dataclass(frozen=True)
class Logged:
    """The metrics that callbacks can monitor after an epoch, and the lines of the calls that log them."""

    names: set[str]
    calls: set[tuple[str, int]]

    def covers(self, sites: Sequence[LogSite]) -> bool:
        """Return whether each of these calls ran."""
        return all(any((site.file, line) in self.calls for line in site.lines) for site in sites)


class _DoneError(Exception):
    """An epoch has ended."""


class _OneEpoch(pl.Callback):
    """Ends training after one epoch, and keeps the names of the metrics."""

    names: frozenset[str] = frozenset()

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch > 0:
            self.names = frozenset(trainer.callback_metrics)
            raise _DoneError


def logged_in_trial(
    setup: TrainingSetup, data: ImageData, validates: bool, functions: Sequence[FunctionType]
) -> Logged | None:
    """Return what the module logs in an epoch of one update and, with ``validates``, of one validation.

    A copy of the module trains on a few images with made-up labels, on the CPU and without the user's callbacks and
    loggers. The result is None if that fails, or if ``functions``, those of the module, may write files or logs.
    """
    if num_ranks() > 1 or any(_may_leave_traces(function) for function in functions):
        return None
    calls: set[tuple[str, int]] = set()
    try:
        with _without_trace(setup.seed):
            module: Any = copy.deepcopy(setup.passes.model.module)
            module.train()
            for name in ("log", "log_dict"):
                vars(module)[name] = _noted(getattr(module, name), calls)
            end = in_package(_OneEpoch, "Callback", package_of(module) or PYTORCH_LIGHTNING)()
            _train(module, end, _batch(setup, data), validates, setup.datamodule)
    except _DoneError:
        return Logged(set(end.names), calls)
    except Exception:  # noqa: BLE001  training has real labels and a real Trainer, and will say it
        return None
    return None


def _train(module: Any, end: Any, batch: Any, validates: bool, datamodule: Any) -> None:
    logger = load(f"{package_of(module) or PYTORCH_LIGHTNING}.loggers.logger").DummyLogger()
    options = {"accelerator": "cpu", "devices": 1, "logger": [logger]}
    trainer = new_trainer(module, options, [end], Plan(100, 1, 1, int(validates)))
    trainer.datamodule = tried_data(module, datamodule)
    loader = _OneBatch(batch)
    trainer.fit(module, train_dataloaders=loader, val_dataloaders=loader if validates else None)


class _OneBatch:
    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        return iter([self.batch])


def _batch(setup: TrainingSetup, data: ImageData) -> Any:
    images = data.plain(torch.arange(TRIED_IMAGES).clamp(max=len(data) - 1).tolist())
    labels = data.label_like
    labels = labels.new_zeros(len(images), *labels.shape[1:])
    if labels.ndim == 1:
        labels += torch.arange(len(images)) % data.num_classes
    form = setup.passes.model.batch
    return (images, labels) if form is None else form(images, labels)


def _noted(log: Any, calls: set[tuple[str, int]]) -> Any:
    """Return log() or log_dict() that notes the line of its caller."""

    def noted(*arguments: Any, **named: Any) -> Any:
        frame = sys._getframe(1)
        calls.add((frame.f_code.co_filename, frame.f_lineno))
        return log(*arguments, **named)

    return noted


@contextmanager
def _without_trace(seed: int) -> Iterator[None]:
    """Keep random states, the output, and the warnings that Lightning gives only once."""
    given = _given_once()
    with ExitStack() as stack:
        for guard in (isolated_rng(seed, "logged"), quiet(), warnings.catch_warnings(), torch.enable_grad()):
            stack.enter_context(guard)
        stack.enter_context(redirect_stdout(io.StringIO()))
        stack.enter_context(redirect_stderr(io.StringIO()))
        eagerly = "torch._dynamo" in sys.modules
        stack.enter_context(torch.compiler.set_stance("force_eager") if eagerly else nullcontext())
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for cache, before in given:
                cache.intersection_update(before)


def _given_once() -> list[tuple[set[str], set[str]]]:
    """Return Lightning's caches of warnings, each with its content."""
    modules = [module for name, module in sys.modules.items() if "lightning" in name.partition(".")[0]]
    holders = [*modules, *(value for module in modules for value in vars(module).values() if isinstance(value, type))]
    caches = [vars(holder).get("warning_cache") for holder in holders]
    return [(cache, set(cache)) for cache in caches if isinstance(cache, set)]


def _may_leave_traces(function: FunctionType) -> bool:
    """Return whether a function may write files or logs, or change what is not copied with the module."""
    todo, seen = [function], {function}
    while todo:
        function = todo.pop()
        if set(function.__code__.co_freevars) - {"__class__"}:
            return True
        for code in codes_in(function.__code__):
            if any(_LEAVES_TRACES.fullmatch(name) for name in code.co_names):
                return True
            if any(step.opname == "STORE_GLOBAL" for step in dis.get_instructions(code)):
                return True
            named = [function.__globals__.get(name) for name in code.co_names]
            called = {f for f in named if isinstance(f, FunctionType) and _is_of_user(f)} - seen
            todo += called
            seen |= called
    return False


def _is_of_user(function: FunctionType) -> bool:
    is_installed = "site-packages" in function.__code__.co_filename
    return not is_installed and (function.__module__ or "").partition(".")[0] not in sys.stdlib_module_names
