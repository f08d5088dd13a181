"""Checks the options of Lightning's Trainer."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch

from dal.errors import DalError, bad_content, bad_value, reason, unknown_choice
from dal.runtime.lightning_package import PYTORCH_LIGHTNING, is_callback, load, package_of, quiet
from dal.training.trainer.callback_checks import check_callback, check_logger
from dal.training.trainer.lightning import has
from dal.training.trainer.own_state import remember_module
from dal.training.trainer.user_objects import as_list, is_factory, new_plugins, remember

RESERVED = {
    "max_epochs": "Set training.max_updates instead.",
    "max_steps": "Set training.max_updates instead.",
    "max_time": "Set training.max_updates instead.",
    "min_epochs": "Set training.min_updates instead.",
    "min_steps": "Set training.min_updates instead.",
    "fast_dev_run": "Set training.max_updates instead.",
    "overfit_batches": "Set training.max_updates instead.",
    "limit_train_batches": "Set training.max_updates instead.",
    "enable_checkpointing": "Remove it; the run folder stores the weights.",
    "model_registry": "Remove it; the run folder stores the weights.",
    "val_check_interval": "Set training.check_every instead.",
    "check_val_every_n_epoch": "Set training.check_every instead.",
    "use_distributed_sampler": "Remove it; dal has its own sampler.",
    "reload_dataloaders_every_n_epochs": "Remove it; dal creates new loaders for each round.",
    "limit_test_batches": "Remove it; dal tests on all points.",
    "limit_predict_batches": "Remove it; dal scores all points.",
    "inference_mode": "Remove it; dal scores in inference mode.",
    "barebones": "Remove it; dal trains with callbacks.",
}
"""Options that dal controls, with the remedy for each."""


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_int(low: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= low


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _is_share_or_count(value: Any) -> bool:
    return _is_int(0)(value) or (isinstance(value, float) and 0 <= value <= 1)


_BOOL = (_is_bool, "true or false")
_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "accumulate_grad_batches": (_is_int(1), "a whole number from 1"),
    "gradient_clip_val": (_is_number, "a number from 0, or null"),
    "gradient_clip_algorithm": (lambda value: value in ("norm", "value"), "norm or value"),
    "num_nodes": (_is_int(1), "a whole number from 1"),
    "deterministic": (lambda value: _is_bool(value) or value == "warn", "true, false or warn"),
    "log_every_n_steps": (_is_int(0), "a whole number from 0"),
    "num_sanity_val_steps": (_is_int(-1), "a whole number from -1"),
    "limit_val_batches": (_is_share_or_count, "a whole number from 0, or a share from 0.0 to 1.0"),
    **dict.fromkeys(
        (
            "sync_batchnorm",
            "benchmark",
            "detect_anomaly",
            "enable_progress_bar",
            "enable_model_summary",
            "enable_autolog_hparams",
        ),
        _BOOL,
    ),
}
"""Checks for options whose values Lightning checks late or not at all."""


_OTHER_WEIGHTS = ("64", "64-true", "bf16-true", "16-true", "transformer-engine", "transformer-engine-float16")
"""Precisions of Lightning with weights of other types than 32-bit floats."""


def check_trainer_options(options: Mapping[str, Any], module: Any = None) -> None:
    """Raise DalError for options that dal controls or the Trainer cannot use.

    ``module`` is the LightningModule to train. It determines the package of the Trainer, pytorch_lightning by default.
    """
    checked = own_options(options)
    package = (module is not None and package_of(module)) or PYTORCH_LIGHTNING
    known = [name for name in inspect.signature(load(package).Trainer.__init__).parameters if name != "self"]
    for name in checked:
        if name not in known:
            raise unknown_choice("trainer", sorted(set(known) - RESERVED.keys()), name)
    _check_values(checked)
    _check_precision(checked)
    _check_objects(checked, package, module)
    _check_launch(checked)
    if module is not None and not module.automatic_optimization:
        _check_manual(checked)
    remember(as_list(checked.get("callbacks")), module)
    if module is not None:
        remember_module(module)
    _construct(package, checked)


def reproducible(options: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Return the options with deterministic algorithms on a CUDA device, unless they say otherwise.

    The algorithms that CUDA uses by default differ in rounding from run to run, so an interrupted run would go on with
    other weights. Those of CPUs do not.

    >>> reproducible({"devices": 1}, torch.device("cuda")), reproducible({"devices": 1}, torch.device("cpu"))
    ({'devices': 1, 'deterministic': 'warn'}, {'devices': 1})
    """
    if device.type != "cuda" or options.get("deterministic") is not None:
        return dict(options)
    return {**options, "deterministic": "warn"}


def own_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are not None.

    Raises DalError for an option that dal controls.
    """
    given = {k: v for k, v in options.items() if v is not None}
    for name in given:
        if name in RESERVED:
            raise DalError(f"trainer.{name}: dal controls this option. {RESERVED[name]}")
    return given


def _check_values(options: Mapping[str, Any]) -> None:
    for name, (is_right, expected) in _VALUES.items():
        if name in options and not is_right(options[name]):
            raise bad_value(f"trainer.{name}", expected, options[name])


def _check_precision(options: Mapping[str, Any]) -> None:
    """Raise DalError for a precision that changes the type of the weights, because dal scores 32-bit images."""
    named = [("precision", options.get("precision"))]
    named += [("plugins", getattr(plugin, "precision", plugin)) for plugin in as_list(options.get("plugins"))]
    for name, precision in named:
        if str(precision) in _OTHER_WEIGHTS:
            raise bad_value(f"trainer.{name}", "a precision with 32-bit weights: 32, 16-mixed or bf16-mixed", precision)


def _check_objects(options: Mapping[str, Any], package: str, module: Any) -> None:
    for callback in as_list(options.get("callbacks")):
        if is_factory(callback):
            continue
        check_callback("trainer.callbacks", callback, package, module)
        check_logger(callback, options.get("logger"))
    for logger in as_list(options.get("logger")):
        if not hasattr(type(logger), "log_metrics") and not is_factory(logger):
            raise bad_value("trainer.logger", "loggers, true or false", logger)
    for name, given in options.items():
        for thing in as_list(given):
            other = package_of(thing)
            if other not in (None, package):
                expected = f"an object of {package}, the package of the module"
                raise bad_content(f"trainer.{name}", expected, f"{type(thing).__name__} of {other}")


def _check_launch(options: Mapping[str, Any]) -> None:
    """Raise DalError if training would wait forever for processes without a launcher."""
    launched = any(name in os.environ for name in ("TORCHELASTIC_RUN_ID", "LOCAL_WORLD_SIZE", "SLURM_NTASKS"))
    devices, nodes = options.get("devices"), options.get("num_nodes", 1)
    if nodes > 1 and not launched and "NODE_RANK" not in os.environ and "MASTER_ADDR" not in os.environ:
        raise bad_value("trainer.num_nodes", "1 without a launcher such as torchrun or SLURM", nodes)
    if _is_bool(devices) or (isinstance(devices, int) and (devices < -1 or devices == 0)):
        raise bad_value("trainer.devices", "a whole number from 1, -1 for all, auto, or a list", devices)
    cores = os.cpu_count() or 1
    count = devices if isinstance(devices, int) else 0
    if isinstance(devices, str) and devices.strip().isdecimal():
        count = int(devices)
    if count > cores and not launched and _on_cpu(options):
        raise bad_value("trainer.devices", f"at most {cores}, the number of cores of this machine", devices)


def _on_cpu(options: Mapping[str, Any]) -> bool:
    name = options.get("accelerator", "auto")
    return name == "cpu" or (name == "auto" and not (torch.cuda.is_available() or torch.backends.mps.is_available()))


def _check_manual(options: Mapping[str, Any]) -> None:
    for name, plain in (("gradient_clip_val", 0), ("accumulate_grad_batches", 1)):
        if options.get(name, plain) != plain:
            expected = "no value, because the module uses manual optimization"
            raise bad_value(f"trainer.{name}", expected, options[name])


def _construct(package: str, options: Mapping[str, Any]) -> None:
    """Raise DalError if the Trainer cannot be created with these options."""
    options = new_plugins(options, round=0)
    callbacks = [callback for callback in as_list(options.pop("callbacks", None)) if is_callback(callback)]
    options["logger"] = False
    try:
        with quiet():
            trainer = load(package).Trainer(
                **{"enable_progress_bar": has(callbacks, "ProgressBar")} | options,
                callbacks=callbacks,
                enable_checkpointing=has(callbacks, "Checkpoint"),
            )
    except Exception as error:
        raise DalError(f"trainer: expected options that Lightning accepts, got: {first_line(error)}.") from error
    # The results of a round would stay in the processes that this launcher starts.
    launchers = load(f"{package}.strategies.launchers.multiprocessing")
    if isinstance(trainer.strategy.launcher, launchers._MultiProcessingLauncher):
        given = options.get("strategy", "auto")
        expected = "a strategy that trains in the process of the learner, such as ddp"
        raise bad_value("trainer.strategy", expected, given if isinstance(given, str) else type(given).__name__)


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error, without the middle of a long one."""
    return reason(ValueError((str(error).strip() or type(error).__name__).splitlines()[0]))
