"""Supports both Lightning packages, pytorch_lightning and lightning.pytorch.

Both define the same classes, but a Trainer from one package rejects modules and callbacks from the other.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

PYTORCH_LIGHTNING, LIGHTNING = "pytorch_lightning", "lightning.pytorch"
_ROOTS = {
    PYTORCH_LIGHTNING: ("pytorch_lightning", "lightning_fabric"),
    LIGHTNING: ("lightning.pytorch", "lightning.fabric"),
}


def package_of(thing: object) -> str | None:
    """Return the Lightning package of an object's base class, or None.

    >>> import pytorch_lightning as pl
    >>> package_of(pl.Callback()), package_of(3)
    ('pytorch_lightning', None)
    """
    for cls in type(thing).__mro__:
        for package, roots in _ROOTS.items():
            if any(cls.__module__ == root or cls.__module__.startswith(f"{root}.") for root in roots):
                return package
    return None


def is_lightning_module(thing: object) -> bool:
    """Return whether an object is a LightningModule of either package."""
    return _is(thing, "LightningModule")


def is_callback(thing: object) -> bool:
    """Return whether an object is a Callback of either package."""
    return _is(thing, "Callback")


def load(package: str) -> Any:
    """Import a package."""
    return import_module(package)


@cache
def in_package(cls: type[Any], base: str, package: str) -> type[Any]:
    """Return the class, or a subclass that also derives from ``base``.

    ``base`` is the name of a class in the package, such as ``"Callback"``.
    """
    parent = getattr(load(package), base)
    return cls if issubclass(cls, parent) else type(cls.__name__, (cls, parent), {"__doc__": cls.__doc__})


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's messages about hardware and loaders, which repeat every round."""
    loggers = [
        logging.getLogger(name)
        for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric")
    ]
    levels = [logger.level for logger in loggers]
    _set_levels(loggers, [logging.ERROR] * len(loggers))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            warnings.filterwarnings("ignore", message=".*number of training batches.*is smaller than.*")
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
            warnings.filterwarnings("ignore", message=".*Grad strides do not match.*")
            warnings.filterwarnings("ignore", message=".*Checkpoint directory.*")
            warnings.filterwarnings("ignore", message=".*but have passed in a `LightningDataModule`.*")
            warnings.filterwarnings("ignore", message=".*val_dataloader.*validation_step.*")
            warnings.filterwarnings("ignore", message=".*no `val_dataloader`.*")
            warnings.filterwarnings("ignore", message=".*`isinstance.treespec, LeafSpec.`.*")
            yield
    finally:
        _set_levels(loggers, levels)


def _set_levels(loggers: list[logging.Logger], levels: list[int]) -> None:
    for logger, level in zip(loggers, levels, strict=True):
        logger.level = level
    # Clears the caches of all loggers of the process, once, because that takes longer than a step of a small head.
    loggers[0].setLevel(levels[0])


def _is(thing: object, name: str) -> bool:
    # A package that has not been imported has no instances.
    loaded = [sys.modules[package] for package in _ROOTS if package in sys.modules]
    return any(isinstance(thing, getattr(package, name)) for package in loaded)
