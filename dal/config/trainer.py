"""Options of Lightning's Trainer for which dal has a default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dal.errors import bad_content, bad_value, reason

TRAINER_OPTIONS: dict[str, tuple[Any, str]] = {
    "accelerator": ("auto", "Hardware to train and score on: auto, cpu, gpu or another that Lightning supports."),
    "devices": (1, "Number of devices per machine to train on, with one process per device."),
    "num_nodes": (1, "Number of machines to train on."),
    "strategy": ("auto", "How processes share training, such as auto or ddp."),
    "precision": ("32-true", "Precision of training, such as 32-true, bf16-mixed or 16-mixed."),
    "gradient_clip_val": (None, "Maximum gradient norm, above which gradients are clipped; null turns clipping off."),
    "accumulate_grad_batches": (1, "Batches whose gradients are summed for one update."),
    "sync_batchnorm": (False, "Whether batch normalization uses the statistics of all devices."),
    "deterministic": (
        "warn",
        "Whether PyTorch uses deterministic algorithms: true, false, or warn (use them if available, else warn).",
    ),
}
"""Maps each name to its default and help sentence. Add other options with +trainer.NAME=VALUE."""


def trainer_defaults() -> dict[str, Any]:
    """Return the options and their defaults.

    >>> trainer_defaults()["precision"]
    '32-true'
    """
    return {name: default for name, (default, _) in TRAINER_OPTIONS.items()}


def with_objects(options: Mapping[str, Any]) -> dict[str, Any]:
    """Instantiate the loggers and callbacks that options describe with ``_target_``.

    Raises DalError if an object cannot be created.

    >>> with_objects({"logger": {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": "logs"}})["logger"].name
    'lightning_logs'
    """
    return {name: _made(name, value) if name in ("logger", "callbacks") else value for name, value in options.items()}


_CREATES = "a _target_ that creates {}"
_KINDS = {"logger": "a logger", "callbacks": "a callback"}


def _made(name: str, given: Any) -> Any:
    if isinstance(given, list | tuple):
        return [_made(name, one) for one in given]
    if not isinstance(given, Mapping):
        return given
    # Imported here because few runs need it.
    from hydra.utils import instantiate

    if "_target_" not in given:
        raise bad_value(f"trainer.{name}", "{_target_: CLASS, ARGUMENT: VALUE, ...}", dict(given))
    try:
        made = instantiate(given)
    except Exception as error:  # whatever the class raises
        cause = error.__cause__ or error
        if isinstance(cause, ImportError) and str(cause).startswith("Error loading"):  # Hydra's words
            expected = "a class that Python can import as _target_"
            raise bad_content(
                f"trainer.{name}", expected, f"{given['_target_']} ({cause.__cause__ or cause})"
            ) from error
        # Without a cause, Hydra refuses the target itself.
        expected = f"arguments that {given['_target_']} takes" if error.__cause__ else _CREATES.format(_KINDS[name])
        raise bad_content(f"trainer.{name}", expected, reason(cause).partition(". ")[0]) from error
    if made is None:
        raise bad_content(f"trainer.{name}", _CREATES.format(_KINDS[name]), f"nothing from {given['_target_']}")
    return made
