"""Reads the datasets of a LightningDataModule."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torch.utils.data import (
    BatchSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
    default_convert,
)

from dal.data.sources.folder.names import check_listed_names
from dal.errors import DalError, bad_value, unknown_choice
from dal.runtime.distributed import is_rank_zero
from dal.runtime.lightning_package import PYTORCH_LIGHTNING, load, package_of, quiet
from dal.runtime.seeding import isolated_rng

_STAGES = {"train": "fit", "val": "fit", "test": "test"}
_HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
_PLAIN_SAMPLERS = (type(None), BatchSampler, RandomSampler, SequentialSampler)
_LIGHTNING = ("pytorch_lightning.", "lightning.pytorch.")


def is_datamodule(value: object) -> bool:
    """Return whether the value is a LightningDataModule of pytorch_lightning or lightning.pytorch."""
    return any(
        base.__name__ == "LightningDataModule" and base.__module__.startswith(_LIGHTNING)
        for base in type(value).__mro__
    )


def dataset_of(datamodule: Any, split: str) -> Any:
    """Return the dataset of this split's loader, after prepare_data() and setup().

    Anything except a LightningDataModule is returned as it is.

    prepare_data() and setup() always run with the same seed, so that a random split is the same in every run. The
    collate function of the loader applies to each item. Raises DalError for an unknown split, several loaders, a split
    without a loader, or batch hooks, which belong in the module.
    """
    if not is_datamodule(datamodule):
        return datamodule
    if split not in _STAGES:
        raise unknown_choice("split", _STAGES, split)
    name = type(datamodule).__name__
    for hook in _HOOKS:
        owner = next(base for base in type(datamodule).__mro__ if hook in vars(base))
        if hook in vars(datamodule) or not owner.__module__.startswith(_LIGHTNING):
            raise bad_value(
                "dataset", f"a LightningDataModule without {hook}, which belongs in the LightningModule", name
            )
    try:
        loader = _read(datamodule, split)
    except AttributeError as error:
        # The attribute of a Trainer, which the datamodule does not have here.
        if error.obj is not None or datamodule.trainer is not None:
            raise
        with _trainer(datamodule):
            loader = _read(datamodule, split)
    if isinstance(loader, (list, tuple)) and len(loader) == 1:
        loader = loader[0]
    if not hasattr(loader, "dataset"):
        expected = f"one DataLoader from {split}_dataloader() of {name}"
        raise bad_value("dataset", expected, None if loader is None else type(loader).__name__)
    _warn_of_sampler(loader, name, split)
    collate = getattr(loader, "collate_fn", default_collate)
    standard = (default_collate, default_convert)
    if collate in standard:
        return loader.dataset
    _warn_of_mixing(loader.dataset, collate, f"{split}_dataloader() of {name}")
    return CollatedDataset(loader.dataset, collate)


def _read(datamodule: Any, split: str) -> Any:
    with isolated_rng(0, "datamodule"):
        if is_rank_zero():
            datamodule.prepare_data()
        datamodule.setup(_STAGES[split])
        return _loader(datamodule, split)


@contextmanager
def _trainer(datamodule: Any) -> Iterator[None]:
    """Give the datamodule a Trainer of one process on the CPU."""
    package = package_of(datamodule) or PYTORCH_LIGHTNING
    options = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    with quiet():
        datamodule.trainer = load(package).Trainer(accelerator="cpu", devices=1, **dict.fromkeys(options, False))
    try:
        yield
    finally:
        datamodule.trainer = None


def _warn_of_sampler(loader: Any, name: str, split: str) -> None:
    """Warn about a sampler that chooses or repeats points, because dal reads the dataset without it."""
    if isinstance(loader.dataset, IterableDataset):  # an error later
        return
    samplers = [getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)]
    unused = next((sampler for sampler in samplers if type(sampler) not in _PLAIN_SAMPLERS), None)
    if unused is not None and hasattr(loader.dataset, "__len__"):  # other datasets are refused later
        warnings.warn(
            f"dataset: {type(unused).__name__} in {split}_dataloader() of {name} is not used. All points of its "
            "dataset are read. To choose points, use torch.utils.data.Subset.",
            stacklevel=4,
        )


def _warn_of_mixing(dataset: Any, collate: Any, place: str) -> None:
    """Warn about a collate function that mixes the items of a batch, because it gets one item at a time."""
    try:
        items = dataset[0], dataset[len(dataset) - 1]
        alone, together = (_collated(items[:count], collate) for count in (1, 2))
        is_mixed = any(
            torch.is_tensor(one) and one.shape == other[:1].shape and not torch.equal(one, other[:1])
            for one, other in zip(alone, together, strict=True)
        )
    except Exception:  # noqa: BLE001  the first image that is read says what is wrong
        return
    if is_mixed:
        warnings.warn(
            f"dataset: the collate function of {place} changes an image or a label if a batch has other items. "
            "dal calls it with one item at a time, so it mixes nothing, as in mixup. Mix batches in training_step() or "
            "on_after_batch_transfer() of the module.",
            stacklevel=4,
        )


def _collated(items: Sequence[Any], collate: Any) -> list[Any]:
    with isolated_rng(0, "collate"):
        return tree_flatten(collate(list(deepcopy(items))))[0]


def _loader(datamodule: Any, split: str) -> Any:
    try:
        return getattr(datamodule, f"{split}_dataloader")()
    except Exception as error:
        if type(error).__name__ != "MisconfigurationException":
            raise
        # Lightning's default method raises this error.
        raise DalError(
            f"dataset: expected {type(datamodule).__name__} to define {split}_dataloader(), got none. Define it, or "
            "pass the dataset itself."
        ) from error


def classes_of(
    datamodule: Any, classes: Sequence[str] | None, num_classes: int | None
) -> tuple[Sequence[str] | None, int | None]:
    """Return the given class names and number, or those of the datamodule.

    Raises DalError for an empty or repeated name among the given ones.
    """
    check_listed_names("classes", classes or ())
    if classes is not None or num_classes is not None or not is_datamodule(datamodule):
        return classes, num_classes
    names, number = (getattr(datamodule, name, None) for name in ("classes", "num_classes"))
    if isinstance(names, (list, tuple)) and len(names) > 0:
        return names, None
    return None, number if isinstance(number, int) else None


class CollatedDataset:
    """Applies a collate function to each item as a batch of one."""

    def __init__(self, dataset: Any, collate: Any) -> None:
        self.dataset, self.collate = dataset, collate

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return _first(self.collate([self.dataset[index]]))

    def __getattr__(self, name: str) -> Any:
        # Class names come from the dataset. Listed labels do not, because the collate function may change labels.
        if name == "classes":
            return getattr(self.dataset, name)
        raise AttributeError(name)


def _first(batch: Any) -> Any:
    """Return the item of a batch of one."""
    return tuple(_part(part) for part in batch) if isinstance(batch, (tuple, list)) else _part(batch)


def _part(part: Any) -> Any:
    """Return the only entry of a sequence or of dict values."""
    if isinstance(part, Mapping):
        return {name: _part(value) for name, value in part.items()}
    is_row = isinstance(part, (Tensor, np.ndarray, tuple, list)) and getattr(part, "ndim", 1) > 0
    return part[0] if is_row and len(part) == 1 else part
