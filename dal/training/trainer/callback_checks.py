"""Checks the user's callbacks before a label is bought."""

from __future__ import annotations

from typing import Any

from dal.errors import DalError, bad_content, bad_value
from dal.runtime.lightning_package import is_callback, load, package_of
from dal.training.trainer.lightning import has, is_overridden

NEED_LOGGER = ("LearningRateMonitor", "DeviceStatsMonitor")
"""Lightning's callbacks that a Trainer without a logger rejects."""


def check_callback(place: str, callback: Any, package: str, module: Any = None) -> None:
    """Raise DalError if a round cannot use the callback.

    ``place`` is the argument or the hook that the callback comes from, and ``package`` is that of the module.
    """
    if isinstance(callback, list | tuple):
        expected = "one callback from each function that creates one"
        raise bad_content(place, expected, f"a {type(callback).__name__} of {len(callback)}")
    if not is_callback(callback):
        raise bad_value(place, "callbacks, such as EarlyStopping('val_loss')", callback)
    name, other = type(callback).__name__, package_of(callback)
    if other != package:
        raise bad_value(place, f"an object of {package}, the package of the module", f"{name} of {other}")
    if has([callback], "BatchSizeFinder"):
        raise DalError(f"{place}: {name} changes the batch size, which dal controls. Set training.batch_size instead.")
    if has([callback], "OnExceptionCheckpoint"):
        # Lightning starts the next round from this file, or from the last file of ModelCheckpoint.
        raise DalError(f"{place}: {name} loads the checkpoint of another round. Remove it; a run folder resumes a run.")
    if has([callback], "ModelPruning") and not getattr(callback, "_make_pruning_permanent", True):
        raise bad_value(place, f"{name} with make_pruning_permanent=True, because dal stores plain weights", False)
    if module is None:
        return
    # setup() may create what these callbacks need.
    is_complete = not any(is_overridden(hook, module) for hook in ("setup", "configure_model"))
    if has([callback], "BackboneFinetuning") and is_complete and not hasattr(module, "backbone"):
        raise bad_value(place, f"a module with an attribute 'backbone' for {name}", type(module).__name__)
    if has([callback], "LearningRateFinder"):
        _check_rate(place, callback, module, is_complete)


def check_logger(callback: Any, logger: object) -> None:
    """Raise DalError if the callback needs a logger and ``logger`` is False."""
    needy = next((name for name in NEED_LOGGER if has([callback], name)), None)
    if needy and logger is False:
        raise bad_value("trainer.logger", f"a logger for {needy}", False)


def _check_rate(place: str, callback: Any, module: Any, is_complete: bool) -> None:
    given = getattr(callback, "_attr_name", "")
    names = [given] if given else ["lr", "learning_rate"]
    has_attribute = load(f"{package_of(module)}.utilities.parsing").lightning_hasattr
    if is_complete and not any(has_attribute(module, name) for name in names):
        expected = f"a module with an attribute {' or '.join(map(repr, names))} for {type(callback).__name__}"
        raise bad_value(place, expected, type(module).__name__)
