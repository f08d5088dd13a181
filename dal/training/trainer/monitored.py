"""Checks the metrics that the user's callbacks and schedulers monitor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from dal.errors import DalError, bad_content, bad_value
from dal.models.classifier import Classifier
from dal.runtime.lightning_package import PYTORCH_LIGHTNING, is_callback, load, package_of
from dal.runtime.seeding import isolated_rng
from dal.training.setup import TrainingSetup
from dal.training.trainer.lightning import Plan, new_trainer, quiet
from dal.training.trainer.user_objects import as_list, new_plugins


def runs_validation(module: Any, options: Mapping[str, Any]) -> bool:
    """Return whether the module's own validation_step runs if there are validation points.

    A user's validation_step may log a metric for a scheduler. The Classifier's validation_step only repeats dal's
    check, so it runs only if a callback monitors its metrics.
    """
    package = package_of(module) or PYTORCH_LIGHTNING
    if options.get("limit_val_batches") == 0:
        return False
    if not load(f"{package}.utilities.model_helpers").is_overridden("validation_step", module):
        return False
    return not isinstance(module, Classifier) or bool(_watching(as_list(options.get("callbacks"))))


def check_monitored(setup: TrainingSetup, has_validation: bool) -> None:
    """Raise DalError if a callback monitors an unavailable validation metric."""
    module, options = setup.passes.model.module, setup.trainer_options
    if has_validation and runs_validation(module, options):
        return
    for callback in _watching(as_list(options.get("callbacks"))):
        raise _nothing_to_watch("trainer.callbacks", type(callback).__name__, callback.monitor, has_validation)


def check_schedulers(setup: TrainingSetup, has_validation: bool) -> None:
    """Raise DalError if there is no optimizer, or a scheduler monitors an unavailable validation metric.

    The check calls ``configure_optimizers()`` on a copy of the module. It is skipped if the module cannot be copied or
    the call fails without a real Trainer.
    """
    module = setup.passes.model.module
    if type(module) is Classifier:
        return
    made = _configured(setup, module)
    if made is None and module.automatic_optimization:
        raise bad_value("configure_optimizers", "an optimizer", None)
    if has_validation and runs_validation(module, setup.trainer_options):
        return
    for scheduler in _schedulers(made):
        watched = scheduler.get("monitor") if isinstance(scheduler, Mapping) else None
        if _is_validation(watched):
            name = type(scheduler.get("scheduler")).__name__
            raise _nothing_to_watch("configure_optimizers", name, watched, has_validation)


def _watching(callbacks: Sequence[Any]) -> list[Any]:
    return [c for c in callbacks if is_callback(c) and _is_validation(getattr(c, "monitor", None))]


def _is_validation(metric: Any) -> bool:
    return isinstance(metric, str) and metric.startswith("val")


def _nothing_to_watch(argument: str, what: str, metric: Any, has_validation: bool) -> DalError:
    if has_validation:
        return bad_content(argument, f"a module with a validation_step for {what}({metric!r})", "none that runs")
    return bad_value(
        argument, f"validation points (campaign.validation_size or tell_validation()) for {what}({metric!r})", "none"
    )


def _configured(setup: TrainingSetup, module: Any) -> Any:
    """Return what configure_optimizers() returns, or an empty list if the call fails."""
    options = {k: v for k, v in setup.trainer_options.items() if k not in ("callbacks", "logger") and v is not None}
    most = setup.config.max_updates
    try:
        with isolated_rng(setup.seed, "schedulers"), quiet():
            copy = deepcopy(module)
            copy.trainer = new_trainer(copy, new_plugins(options, 0) | {"logger": False}, [], Plan(most, 1))
            copy.trainer.strategy.connect(copy)
            # estimated_stepping_batches reads these attributes.
            copy.trainer.fit_loop.max_batches = 1
            copy.trainer.fit_loop.setup_data = lambda: None
            return copy.configure_optimizers()
    except Exception:  # noqa: BLE001  whatever the module's own code raises, training will say it
        return []


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
