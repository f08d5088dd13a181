"""Counts floating-point operations exactly, from the shapes of the operations.

The counter covers convolutions, matrix products and attention, at 2 FLOPs per multiply-add, with the formulas of
``torch.utils.flop_counter``. It ignores elementwise operations, normalization, pooling, optimizer steps, custom
kernels, and recurrent layers that a library (cuDNN, oneDNN) runs as one operation.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten


class Flops(NamedTuple):
    """FLOPs, where ``apart`` is a part of ``forward``."""

    forward: int = 0
    backward: int = 0
    apart: int = 0


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the FLOPs inside the block, forward and backward.

    The counter calls ``apart`` at every operation of a forward pass; if it returns True, ``flops.apart`` includes the
    operation too. Results are bitwise equal to those outside the block, except for modules of torch.compile, which run
    uncompiled. All operations of an autograd call count as backward, including recomputation by checkpointing.

    >>> layer = torch.nn.Linear(10, 5)
    >>> with FlopCounter() as counter:
    ...     layer(torch.ones(4, 10)).sum().backward()  # the images need no gradient
    >>> counter.flops
    Flops(forward=400, backward=400, apart=0)
    """

    # Without this flag, operators that take functions, such as flex_attention, raise an error.
    supports_higher_order_operators = True

    def __init__(self, apart: Callable[[], bool] = lambda: False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._apart = apart
        self._forward = self._backward = self._set_apart = 0

    @property
    def flops(self) -> Flops:
        """The FLOPs counted so far."""
        return Flops(self._forward, self._backward, self._set_apart)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # Only inference mode leaves composite operators, such as linear, whole below autograd.
        if torch.is_inference_mode_enabled() and hasattr(func, "decompose") and func.namespace != "prim":
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        operator = getattr(func, "overloadpacket", func)
        if operator in _FORMULAS or operator in flop_registry:
            # A formula that does not support these arguments must not stop the computation.
            with suppress(AssertionError, AttributeError, IndexError, TypeError, ValueError):
                self._count(operator, args, kwargs, result)
        return result

    def _count(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if operator in _FORMULAS:
            flops = int(_FORMULAS[operator](*args, **kwargs))
        else:
            flops = int(flop_registry[operator](*args, **kwargs, out_val=result))
        if torch._C._current_graph_task_id() != -1:
            self._backward += flops
            return
        self._forward += flops
        if self._apart():
            self._set_apart += flops


class OpenCounter:
    """A FlopCounter that opens in one callback and closes in another.

    You can call ``close()`` at any time.

    >>> opened = OpenCounter()
    >>> opened.open()
    >>> _ = torch.ones(2, 3) @ torch.ones(3, 4)
    >>> opened.close(), opened.close()
    (Flops(forward=48, backward=0, apart=0), None)
    """

    def __init__(self) -> None:
        self._counter: FlopCounter | None = None

    def open(self) -> None:
        """Start counting, and discard an open count."""
        self.close()
        counter = FlopCounter()
        counter.__enter__()  # type: ignore[no-untyped-call]
        self._counter = counter

    def close(self) -> Flops | None:
        """Stop counting and return the FLOPs, or None if not open."""
        counter, self._counter = self._counter, None
        if counter is None:
            return None
        counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        return counter.flops


def _convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, *settings: Any, output_mask: tuple[bool, bool, bool] | None = None
) -> int:
    """FLOPs of the two gradients, for any number of groups.

    Each gradient takes as many products as the forward pass.
    """
    *_, transposed, _output_padding, _groups = settings[:7]
    mask = settings[7] if output_mask is None else output_mask
    places = (x if transposed else grad).shape[2:]
    return 2 * len(x) * prod(places) * weight.numel() * (int(mask[0]) + int(mask[1]))


def _self_attention(queries: Tensor, keys: Tensor, width: int) -> int:
    """FLOPs of the scores and weighted values of self-attention.

    queries: (B, S, ...); keys: (B, T, ...); ``width`` is the total over all heads.
    """
    return 2 * (2 * len(queries) * queries.shape[1] * keys.shape[1] * width)


def _multi_head_attention(query: Tensor, key: Tensor, value: Tensor, width: int, *args: Any, **kwargs: Any) -> int:
    """FLOPs of the three input projections, attention, and the output projection."""
    rows: int = sum(x.shape[0] * x.shape[1] for x in (query, key, value, query))
    return 2 * rows * width * width + _self_attention(query, key, width)


def _encoder_layer(x: Tensor, width: int, *args: Any, **kwargs: Any) -> int:
    """FLOPs of attention and the two linear layers after it."""
    weights: int = args[12].numel() + args[14].numel()
    return _multi_head_attention(x, x, x, width) + 2 * x.shape[0] * x.shape[1] * weights


def _attention_on_cpu(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> int:
    pairs = query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
    return int(2 * pairs * (query.shape[3] + value.shape[3]))


def _attention_backward_on_cpu(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kw: Any) -> int:
    """FLOPs of the recomputed scores and of four gradient products.

    Each of the two forward products needs two gradient products.
    """
    pairs = query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
    return int(2 * pairs * (3 * query.shape[3] + 2 * value.shape[3]))


def _vector_product(x: Tensor, vector: Tensor, *args: Any, **kwargs: Any) -> int:
    return 2 * x.numel()


# Formulas that PyTorch lacks or has wrong: its convolution_backward ignores groups, which overestimates depthwise
# convolutions by a factor of hundreds.
_FORMULAS: dict[Any, Callable[..., int]] = {
    aten.convolution_backward: _convolution_backward,
    aten._native_multi_head_attention: _multi_head_attention,
    aten._transformer_encoder_layer_fwd: _encoder_layer,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention_on_cpu,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_on_cpu,
    aten.mv: _vector_product,
    aten.dot: _vector_product,
}
