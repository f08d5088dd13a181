"""Finds weights between the head and the output of forward(), which only show when they have learned something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, nn

from dal.models.adapt import AdaptedModel
from dal.models.adapted.head import has_other_class
from dal.models.adapted.head_pass import run_to_head

_LEAST, _MOST = 0.95, 1.05  # so close that a small bias or scale decides
_NOISE = 0.5


def learns_after_head(adapted: AdaptedModel, x: Tensor, out: object) -> bool:
    """Return whether forward() chooses other classes than its head once all weights have changed.

    A new bias, scale or branch after the head often starts without an effect. Here, the head returns fixed logits for
    the images ``x``, of the shape of its output ``out``. All weights and buffers are moved, and restored afterwards. A
    module that cannot run with such weights is not judged.
    """
    if not isinstance(out, Tensor) or not out.is_floating_point() or out.ndim < 2 or out.shape[1] < 2:
        return False
    ramp = torch.linspace(_LEAST, _MOST, out.shape[1], dtype=out.dtype, device=out.device)
    rows = torch.stack([ramp.roll(place) for place in range(len(out))])
    fixed = rows.reshape(*rows.shape, *[1] * (out.ndim - 2)).expand(out.shape).clone()
    handle = adapted.head_layer.register_forward_hook(lambda layer, args, result: fixed.clone())
    try:
        with _moved(adapted.module):
            result, seen = run_to_head(adapted, x.clone(), eagerly=True)
    except Exception:  # noqa: BLE001  the weights may mean nothing to the user's code
        return False
    finally:
        handle.remove()
    return len(seen) == 1 and has_other_class(result, fixed)


@contextmanager
def _moved(module: nn.Module) -> Iterator[None]:
    """Add positive noise to all weights and buffers in the block. Scales and variances stay positive."""
    generator = torch.Generator().manual_seed(0)
    buffers = {part: dict(part._buffers) for part in module.modules()}
    tensors = [*module.parameters(), *module.buffers()]
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        with torch.no_grad():
            for tensor in tensors:
                noise = torch.rand(tensor.shape, generator=generator) * _NOISE
                if tensor.is_floating_point():
                    with suppress(RuntimeError):  # an expanded buffer cannot be written
                        tensor.add_(noise.to(tensor.device, tensor.dtype))
        yield
    finally:
        for part, own in buffers.items():
            part._buffers.update(own)
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                if not torch.equal(tensor, value):
                    tensor.copy_(value)
