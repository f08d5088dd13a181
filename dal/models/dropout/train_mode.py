"""The network as it trains, with everything that training would move kept as it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

Modes = Mapping[nn.Module, bool]
"""The flag ``training`` of each module."""


class TrainMode:
    """Puts a module in train mode, except the layers that would mix images or change.

    Those are normalization by batch, and layers whose buffers a pass in train mode changes. ``modes`` are the flags
    while the module trains; layers that its owner has frozen by eval() stay so.
    """

    def __init__(self, module: nn.Module, modes: Modes) -> None:
        self.module = module
        if not any(modes.values()):
            # A module that was only ever put to inference.
            module.train()
            modes = {m: m.training for m in module.modules()}
            module.eval()
        self.modes = {m: flag and not isinstance(m, _NormBase) for m, flag in modes.items()}

    def hold(self, run: Callable[[], object]) -> None:
        """Find the layers whose buffers ``run`` changes, and keep them in eval mode from now on."""
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
        """Inside, the module trains; of its layers ``only`` these, and none of ``but``."""
        try:
            for m, flag in self.modes.items():
                m.training = flag and m not in but and (only is None or m in only)
            yield
        finally:
            for m in self.modes:
                m.training = False


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())
