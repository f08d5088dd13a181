"""Channels-last layout of images and convolution weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dal.runtime.memory import out_of_memory
from dal.runtime.precision import full_precision


def channels_last(x: Tensor) -> Tensor:
    """Return a channels-last copy of a (B, C, H, W) tensor.

    >>> channels_last(torch.zeros(2, 1, 4, 4)).stride()
    (16, 1, 4, 1)
    """
    # contiguous(memory_format=...) keeps the strides of a single channel, and kernels choose by the strides.
    return x.clone(memory_format=torch.channels_last)


@contextmanager
def channels_last_weights(module: nn.Module) -> Iterator[None]:
    """Convert four-dimensional weights to channels last.

    On exit, the module holds its original tensors again.
    """
    # A parameter cannot hold a tensor created in inference mode.
    with torch.inference_mode(False), torch.no_grad():
        originals = [(p, p.data) for p in module.parameters() if p.ndim == 4]
    try:
        with torch.inference_mode(False), torch.no_grad():
            for parameter, data in originals:
                parameter.data = channels_last(data)
        yield
    finally:
        with torch.inference_mode(False), torch.no_grad():
            for parameter, data in originals:
                parameter.data = data


def takes_channels_last(module: nn.Module, run: Callable[[Tensor], Tensor], few: Tensor) -> bool:
    """Return whether a pass gives equal results for channels last.

    Results of ``run``, a pass of the module, are compared up to rounding. For example, a forward() that calls
    ``x.view(len(x), -1)`` fails on this layout.
    """
    with full_precision(few.device):
        try:
            # Half-precision weights fail on these float32 images, so there is nothing to compare.
            usual = run(few)
            with channels_last_weights(module):
                other = run(channels_last(few))
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            return False
    return torch.allclose(other, usual, rtol=1e-2, atol=1e-3, equal_nan=True)
