"""Runs a network in train mode without changing its state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

Modes = Mapping[nn.Module, bool]
"""Maps each module to its ``training`` flag."""


class TrainMode:
    """Sets train mode, except for layers that mix images or change.

    These are batch normalization layers and layers whose buffers change during a pass in train mode. ``modes`` are the
    flags during training. Layers that the user has frozen with eval() stay frozen.
    """

    def __init__(self, module: nn.Module, modes: Modes) -> None:
        self.module = module
        if not any(modes.values()):
            # The user has never trained this module, so its flags say nothing about frozen layers.
            module.train()
            modes = {m: m.training for m in module.modules()}
            module.eval()
        self.modes = {m: flag and not isinstance(m, _NormBase) for m, flag in modes.items()}

    def hold(self, run: Callable[[], object]) -> None:
        """Find layers whose buffers ``run`` changes, and keep them in eval mode."""
        places = [(m, name, b, b.clone()) for m in self.modes for name, b in m._buffers.items() if b is not None]
        try:
            with self():
                run()
        finally:
            for m, name, buffer, before in places:
                if m._buffers[name] is not buffer or not _equal(buffer, before):
                    self.modes[m] = False
                    buffer.copy_(before)
                    m._buffers[name] = buffer

    @contextmanager
    def __call__(self, only: Collection[nn.Module] | None = None, but: Collection[nn.Module] = ()) -> Iterator[None]:
        """Set train mode for layers in ``only`` and not in ``but``."""
        # Compare identities, because == with a metric of torchmetrics returns a metric, which is true.
        chosen, others = {id(m) for m in self.modes if only is None} | {id(m) for m in only or ()}, {id(m) for m in but}
        try:
            for m, flag in self.modes.items():
                m.training = flag and id(m) in chosen and id(m) not in others
            yield
        finally:
            for m in self.modes:
                m.training = False


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())
