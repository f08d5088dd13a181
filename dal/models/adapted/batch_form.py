"""Builds the batch that a module expects, and runs its hooks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from dal.errors import DalError, bad_value
from dal.runtime.seeding import isolated_rng, seed_generators

BatchOf = Callable[[Tensor, Tensor], Any]
"""Maps (B, C, H, W) images and B labels to the batch that training_step takes."""

HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
_LOOKS = 8  # enough to detect a transform that changes half of the images
_LIGHTNING = ("pytorch_lightning.", "lightning.pytorch.")

_random: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
"""Whether the hooks of a module are random in eval mode."""


@dataclass(frozen=True)
class NamedBatch:
    """Converts a batch to a dict.

    >>> sorted(NamedBatch("image", "label")(torch.zeros(2, 1, 8, 8), torch.zeros(2)))
    ['image', 'label']
    """

    image: str
    label: str

    def __call__(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {self.image: x, self.label: y}


def batch_of(given: BatchOf | Sequence[str] | None) -> BatchOf | None:
    """Return the function for the argument ``batch`` of adapt().

    Raises DalError for an invalid argument.
    """
    if given is None or callable(given):
        return given
    if isinstance(given, (tuple, list)) and len(given) == 2 and all(isinstance(name, str) for name in given):
        return NamedBatch(*given)
    expected = 'a function (x, y) that returns the batch, or two names such as ("image", "label")'
    raise bad_value("batch", expected, given)


def batch_hooks(module: nn.Module) -> list[str]:
    """Return the batch hooks that the module defines.

    >>> batch_hooks(nn.Linear(2, 2))
    []
    """
    return [name for name in HOOKS if name in vars(module) or _owner(type(module), name) is not None]


def _owner(kind: type, name: str) -> type | None:
    owner = next((base for base in kind.__mro__ if name in vars(base)), None)
    return None if owner is None or owner.__module__.startswith(_LIGHTNING) else owner


class Inputs:
    """Runs a module's batch hooks on plain images, as Lightning does.

    ``form`` builds the batch that the hooks take. None builds a tuple (x, y). The labels are zeros. Use it in eval mode
    and inside evaluating().
    """

    def __init__(self, module: Any, form: BatchOf | None) -> None:
        self.module, self.form = module, form
        self.hooks = batch_hooks(module)

    @property
    def are_random(self) -> bool:
        """Whether the hooks are random outside training. False before the first call."""
        return _random.get(self.module, False)

    def __call__(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return (B, ...) images after the hooks.

        If the hooks are random in eval mode too, they use the same draw for each image. Raises DalError if the images
        cannot be identified in what the hooks return.
        """
        if self.module not in _random:
            _random[self.module] = self._look(x[:4], labels[:4])
        if not _random[self.module]:
            return self._images(x, labels)
        rows = []
        for i in range(len(x)):
            seed_generators(0)
            rows.append(self._images(x[i : i + 1], labels[i : i + 1]))
        return torch.cat(rows)

    def _look(self, few: Tensor, labels: Tensor) -> bool:
        """Return whether the hooks are random, and warn if they are."""
        found = []
        for seed in range(_LOOKS):
            with isolated_rng(seed, "look"):
                found.append(self._images(few, labels))
        if all(images.shape == found[0].shape and torch.equal(images, found[0]) for images in found):
            return False
        warnings.warn(
            f"{self.hooks[-1]}: it changes images at random outside training, so every image is scored with the "
            "same draw. Check self.trainer.training before you augment.",
            stacklevel=2,
        )
        return True

    def _images(self, x: Tensor, labels: Tensor) -> Tensor:
        batch, sent = self.batch(x.clone(), labels)
        images = _images_in(batch, _path(self._made(*sent), sent[0]), len(x), self.form, self.hooks[-1])
        if len(images) != len(x):
            raise bad_value(self.hooks[-1], f"a batch of {len(x)} images, like its input", len(images))
        return images

    def batch(self, x: Tensor, labels: Tensor) -> tuple[Any, tuple[Tensor, Tensor]]:
        """Return the batch for training_step and the tensors it was built from."""
        device = x.device
        # Hooks before the transfer expect CPU tensors, as a loader returns them.
        early = any(name in self.hooks for name in HOOKS[:2])
        sent = (x.cpu(), labels.cpu()) if early else (x, labels.to(device))
        batch = self._made(*sent)
        if HOOKS[0] in self.hooks:
            batch = self.module.on_before_batch_transfer(batch, 0)
        if early:
            batch = self.module.transfer_batch_to_device(batch, device, 0)
        if HOOKS[2] in self.hooks:
            batch = self.module.on_after_batch_transfer(batch, 0)
        return batch, sent

    def _made(self, x: Tensor, y: Tensor) -> Any:
        return (x, y) if self.form is None else self.form(x, y)


def _children(value: Any) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (tuple, list)):
        return dict(enumerate(value))
    return {} if isinstance(value, (Tensor, str)) else dict(getattr(value, "__dict__", {}))


def _path(value: Any, wanted: Tensor) -> tuple[Any, ...] | None:
    if value is wanted:
        return ()
    for key, child in _children(value).items():
        if (path := _path(child, wanted)) is not None:
            return (key, *path)
    return None


def _images_in(batch: Any, path: tuple[Any, ...] | None, count: int, form: BatchOf | None, hook: str) -> Tensor:
    """Return the images, from their original place or the only candidate tensor."""
    places = [] if path is None else [path]
    places += [(form.image,)] if isinstance(form, NamedBatch) else []
    for place in places:
        found: Any = batch
        for key in place:
            found = _children(found).get(key)
        if _is_image(found, count):
            images = [found]
            break
    else:
        images = [leaf for leaf in tree_leaves(batch) if _is_image(leaf, count)]
    if len(images) == 1:
        only: Tensor = images[0]
        return only
    raise DalError(
        f"{hook}: expected a batch with one tensor of {count} images, got {len(images)} in {type(batch).__name__}. "
        "Return the images in the same place of the batch. If training needs several views, make them only if "
        "self.trainer.training."
    )


def _is_image(value: Any, count: int) -> bool:
    if not isinstance(value, Tensor) or not (value.is_floating_point() or value.dtype == torch.uint8):
        return False
    return value.ndim > 2 and len(value) == count
