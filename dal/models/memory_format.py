"""Channels-last layout of images and convolution weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dal.runtime.memory import out_of_memory
from dal.runtime.precision import full_precision


def channels_last(x: Tensor) -> Tensor:
    """(B, C, H, W) with the channels of a pixel side by side in memory; the numbers stay.

    >>> channels_last(torch.zeros(2, 1, 4, 4)).stride()
    (16, 1, 4, 1)
    """
    # contiguous(memory_format=...) would leave a single channel as it is, and kernels go by the strides.
    return x.clone(memory_format=torch.channels_last)


@contextmanager
def channels_last_weights(module: nn.Module) -> Iterator[None]:
    """Weights of four dimensions are channels last inside; on leaving, the module holds the same memory as before."""
    # Copies made in inference mode could not be put into a parameter.
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
    """Whether ``run``, a pass of the module, gives the same numbers for channels last, up to rounding.

    A forward() with ``x.view(len(x), -1)`` in it, for one, refuses another layout than the usual one.
    """
    with full_precision(few.device):
        try:
            # Weights in half precision refuse these images: then there is nothing to compare.
            usual = run(few)
            with channels_last_weights(module):
                other = run(channels_last(few))
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            return False
    return torch.allclose(other, usual, rtol=1e-2, atol=1e-3, equal_nan=True)
