"""Checks the metrics that the user's callbacks and schedulers monitor."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from dal.data.loaders import validation_batch_size
from dal.errors import DalError, bad_content, bad_value
from dal.models.base_module import BaseModule
from dal.models.classifier import Classifier
from dal.models.segmenter import Segmenter
from dal.training.setup import TrainingSetup
from dal.training.trainer.lightning import is_overridden
from dal.training.trainer.tried import all_callbacks, configured

_VALIDATION = re.compile(r"(?<![a-z])(val|valid|validation|dev)(?![a-z])")


def runs_validation(setup: TrainingSetup) -> bool:
    """Return whether the module's own validation_step runs if there are validation points.

    A user's validation_step may log a metric for a scheduler. Those of the Classifier and the Segmenter only repeat
    dal's check, so they run only if a callback monitors their metrics.
    """
    module = setup.passes.model.module
    if setup.trainer_options.get("limit_val_batches") == 0 or not is_overridden("validation_step", module):
        return False
    return not isinstance(module, BaseModule) or bool(_watching(all_callbacks(setup)))


def check_monitored(setup: TrainingSetup, num_validation: int, with_functions: bool = True) -> None:
    """Raise DalError if a callback monitors an unavailable validation metric.

    ``with_functions`` includes the callbacks that the functions in ``trainer.callbacks`` create.
    """
    has_validation = num_validation > 0
    if has_validation:
        _check_step(setup)
        _check_limit(setup, num_validation)
    watching = _watching(all_callbacks(setup, with_functions))
    if not watching or (has_validation and runs_validation(setup)):
        return
    place, callback = watching[0]
    raise nothing_to_watch(place, type(callback).__name__, callback.monitor, has_validation)


def _check_limit(setup: TrainingSetup, num_validation: int) -> None:
    """Raise DalError if ``trainer.limit_val_batches`` is less than one batch of this many validation points."""
    limit = setup.trainer_options.get("limit_val_batches")
    batches = math.ceil(num_validation / validation_batch_size(setup.config.batch_size))
    if isinstance(limit, float) and 0 < limit * batches < 1 and runs_validation(setup):
        number = "1 batch" if batches == 1 else f"{batches} batches"
        expected = (
            f"a whole number, or a share that gives at least one of {number} of {num_validation} validation points"
        )
        raise bad_value("trainer.limit_val_batches", expected, limit)


def _check_step(setup: TrainingSetup) -> None:
    """Raise DalError if validation_step needs the number of a loader, because a round has one."""
    step = inspect.signature(setup.passes.model.module.validation_step).parameters
    number = step.get("dataloader_idx")
    if number is not None and number.default is inspect.Parameter.empty and runs_validation(setup):
        expected = "dataloader_idx with a default value, because a round has one validation loader"
        raise bad_content("validation_step", expected, "none")


def check_schedulers(setup: TrainingSetup, has_validation: bool) -> list[Mapping[str, Any]]:
    """Raise DalError if there is no optimizer, or a scheduler monitors a validation metric that is missing or late.

    Returns the schedulers that step with a metric. The check calls ``configure_optimizers()`` on a copy of the module.
    It is skipped if the module cannot be copied or the call fails without a real Trainer.
    """
    module = setup.passes.model.module
    if type(module) in (Classifier, Segmenter):
        return []
    made = configured(setup)
    if made is None and module.automatic_optimization:
        raise bad_value("configure_optimizers", "an optimizer", None)
    validates = has_validation and runs_validation(setup)
    schedulers = [scheduler for scheduler in _schedulers(made) if isinstance(scheduler, Mapping)]
    for scheduler in schedulers:
        watched = scheduler.get("monitor")
        if not _is_validation(watched):
            continue
        name = type(scheduler.get("scheduler")).__name__
        if not validates:
            raise nothing_to_watch("configure_optimizers", name, watched, has_validation)
        if name == "ReduceLROnPlateau" and _steps_before_validation(scheduler):
            expected = f"interval='epoch' for {name}({watched!r}), because validation runs at the end of an epoch"
            raise bad_value("configure_optimizers", expected, "step")
    return (
        [scheduler for scheduler in schedulers if _steps_with_metric(scheduler)]
        if module.automatic_optimization
        else []
    )


def _steps_with_metric(scheduler: Mapping[str, Any]) -> bool:
    return isinstance(scheduler.get("scheduler"), ReduceLROnPlateau) or bool(scheduler.get("reduce_on_plateau"))


def _steps_before_validation(scheduler: Mapping[str, Any]) -> bool:
    """Return whether the scheduler reads its metric after the first update. Lightning then raises an error."""
    each = scheduler.get("interval") == "step" and scheduler.get("frequency", 1) == 1
    return each and bool(scheduler.get("strict", True))


def _watching(callbacks: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(place, callback) for place, callback in callbacks if _is_validation(getattr(callback, "monitor", None))]


def _is_validation(metric: Any) -> bool:
    """Return whether this is a metric of validation by its name, such as ``val_loss`` or ``loss/val``."""
    return isinstance(metric, str) and (metric.startswith("val") or _VALIDATION.search(metric.lower()) is not None)


def nothing_to_watch(argument: str, what: str, metric: Any, has_validation: bool) -> DalError:
    """Return the error for a validation metric without validation."""
    if has_validation:
        return bad_content(argument, f"a module with a validation_step for {what}({metric!r})", "none that runs")
    return bad_value(
        argument, f"validation points (campaign.validation_size or tell_validation()) for {what}({metric!r})", "none"
    )


def _schedulers(made: Any) -> list[Any]:
    """Return the schedulers among the result of configure_optimizers()."""
    if isinstance(made, Mapping):
        made = [made]
    if isinstance(made, list | tuple) and len(made) == 2 and all(isinstance(part, list | tuple) for part in made):
        return list(made[1])
    found = (
        [part.get("lr_scheduler") for part in made if isinstance(part, Mapping)]
        if isinstance(made, list | tuple)
        else []
    )
    monitors = [part.get("monitor") for part in made if isinstance(part, Mapping)] if found else []
    return [
        s if isinstance(s, Mapping) else {"scheduler": s, "monitor": m} for s, m in zip(found, monitors, strict=True)
    ]
