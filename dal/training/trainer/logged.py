"""Checks before a label is bought that the module logs the metrics that callbacks and schedulers monitor."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from dal.data.images import ImageData
from dal.errors import DalError, bad_value, unknown_choice
from dal.models.own import is_own
from dal.runtime.lightning_package import package_of
from dal.training.setup import TrainingSetup
from dal.training.trainer.lightning import has
from dal.training.trainer.log_sites import LogSites, log_sites
from dal.training.trainer.logged_names import Logged, logged_in_trial
from dal.training.trainer.monitored import nothing_to_watch, runs_validation
from dal.training.trainer.tried import all_callbacks


@dataclass(frozen=True)
class _Monitor:
    """A callback or a scheduler that monitors a metric."""

    place: str
    what: str
    metric: str
    is_strict: bool
    """Whether Lightning raises an error if the metric does not exist."""


def check_logged(
    setup: TrainingSetup, data: ImageData, has_validation: bool, schedulers: Sequence[Mapping[str, Any]]
) -> None:
    """Raise DalError if a callback or a scheduler monitors a metric that the module never logs.

    If Lightning does not need the metric, or a class of the user decides about it, it is a warning. Metrics that the
    module may log under a condition are neither.
    """
    named = all_callbacks(setup)
    callbacks, validates = [callback for _, callback in named], has_validation and runs_validation(setup)
    monitors = [*_of_callbacks(named, validates), *_of_schedulers(schedulers)]
    if not monitors:
        return
    found = log_sites(setup.passes.model.module, callbacks, validates)
    trial = cache(lambda: logged_in_trial(setup, data, validates, found.functions))
    for monitor in monitors:
        error = _missing(monitor, found, setup.passes.model.module, trial)
        if (
            error is not None
            and not validates
            and _gives(log_sites(setup.passes.model.module, callbacks, True), monitor)
        ):
            error = nothing_to_watch(monitor.place, monitor.what, monitor.metric, has_validation)
        if error is not None and monitor.is_strict:
            raise error
        if error is not None:
            warnings.warn(str(error), stacklevel=5)


def _of_callbacks(callbacks: Sequence[tuple[str, Any]], validates: bool) -> Iterator[_Monitor]:
    logs_rates = has([callback for _, callback in callbacks], "LearningRateMonitor")
    for place, callback in callbacks:
        metric = getattr(callback, "monitor", None)
        if not isinstance(metric, str) or (logs_rates and metric.startswith("lr-")):
            continue
        saves = has([callback], "ModelCheckpoint")
        if saves and metric in ("epoch", "step"):
            continue
        needs = validates and callback.save_top_k != 0 if saves else bool(getattr(callback, "strict", False))
        is_of_lightning = type(callback).__module__.startswith(package_of(callback) or "lightning")
        yield _Monitor(place, type(callback).__name__, metric, needs and is_of_lightning)


def _of_schedulers(schedulers: Sequence[Mapping[str, Any]]) -> Iterator[_Monitor]:
    for scheduler in schedulers:
        metric, name = scheduler.get("monitor"), type(scheduler.get("scheduler")).__name__
        if isinstance(metric, str):
            yield _Monitor("configure_optimizers", name, metric, bool(scheduler.get("strict", True)))


def _gives(found: LogSites, monitor: _Monitor) -> bool:
    return any(site.may_give(monitor.metric) for site in found.sites)


def _missing(monitor: _Monitor, found: LogSites, module: Any, trial: Callable[[], Logged | None]) -> DalError | None:
    """Return the error for a metric that nothing logs, or None if something logs it or may log it."""
    metric = monitor.metric
    sites = [site for site in found.sites if site.may_give(metric)]
    if not found.is_complete or any(site.name == metric for site in sites):
        return None
    names = {site.name for site in found.sites}
    if sites:
        logged = None if is_own(module) else trial()
        if logged is None or metric in logged.names or not logged.covers(sites) or found.mention(metric):
            return None
        names = logged.names | {name for name in names if "*" not in name}
    argument = f"{monitor.place}, monitor of {monitor.what}"
    if not names:
        return bad_value(argument, "a metric that the module logs", metric)
    return unknown_choice(argument, names, metric)
