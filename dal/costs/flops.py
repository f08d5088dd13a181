"""Counts floating-point operations exactly, from the shapes of the operations.

What counts is what grows with the network: convolutions, matrix products and attention, 2 FLOPs a multiply-add, by the
formulas of ``torch.utils.flop_counter``. Elementwise work, normalization, pooling and the steps of optimizers are not
counted, nor are recurrent layers where a library runs them as one operation (cuDNN, oneDNN) and custom kernels.
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
    """FLOPs, ``apart`` being a part of ``forward``."""

    forward: int = 0
    backward: int = 0
    apart: int = 0


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the FLOPs of what runs inside the block, forward and backward.

    ``apart`` is asked at every operation of a forward pass whether to count it in ``flops.apart`` too. What runs gives
    the same numbers, bit by bit, as it gives outside, except for modules of torch.compile, which run uncompiled.
    Everything that one call of autograd runs is backward, what checkpointing computes again included.

    >>> layer = torch.nn.Linear(10, 5)
    >>> with FlopCounter() as counter:
    ...     layer(torch.ones(4, 10)).sum().backward()  # the images want no gradient
    >>> counter.flops
    Flops(forward=400, backward=400, apart=0)
    """

    # Else operators that take functions, such as flex_attention, would refuse to run.
    supports_higher_order_operators = True

    def __init__(self, apart: Callable[[], bool] = lambda: False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._apart = apart
        self._forward = self._backward = self._set_apart = 0

    @property
    def flops(self) -> Flops:
        """Counted so far."""
        return Flops(self._forward, self._backward, self._set_apart)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # Below autograd only inference mode leaves operators whole that are made of others, such as linear.
        if torch.is_inference_mode_enabled() and hasattr(func, "decompose") and func.namespace != "prim":
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        operator = getattr(func, "overloadpacket", func)
        if operator in _FORMULAS or operator in flop_registry:
            # A formula that does not know these arguments must not end what it only counts.
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
    """A FlopCounter that is entered in one callback and left in another. ``close()`` may be called at any time.

    >>> opened = OpenCounter()
    >>> opened.open()
    >>> _ = torch.ones(2, 3) @ torch.ones(3, 4)
    >>> opened.close(), opened.close()
    (Flops(forward=48, backward=0, apart=0), None)
    """

    def __init__(self) -> None:
        self._counter: FlopCounter | None = None

    def open(self) -> None:
        """Count from now on; what was being counted is forgotten."""
        self.close()
        counter = FlopCounter()
        counter.__enter__()  # type: ignore[no-untyped-call]
        self._counter = counter

    def close(self) -> Flops | None:
        """What was counted; None where nothing is being counted."""
        counter, self._counter = self._counter, None
        if counter is None:
            return None
        counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        return counter.flops


def _convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, *settings: Any, output_mask: tuple[bool, bool, bool] | None = None
) -> int:
    """The gradients of the input and of the weight each take the products of the forward pass, groups or not."""
    *_, transposed, _output_padding, _groups = settings[:7]
    mask = settings[7] if output_mask is None else output_mask
    places = (x if transposed else grad).shape[2:]
    return 2 * len(x) * prod(places) * weight.numel() * (int(mask[0]) + int(mask[1]))


def _self_attention(queries: Tensor, keys: Tensor, width: int) -> int:
    """The scores and the sums of values of (B, S, ...) and (B, T, ...), ``width`` numbers over all heads."""
    return 2 * (2 * len(queries) * queries.shape[1] * keys.shape[1] * width)


def _multi_head_attention(query: Tensor, key: Tensor, value: Tensor, width: int, *args: Any, **kwargs: Any) -> int:
    """The three projections in, attention, and the projection out."""
    rows: int = sum(x.shape[0] * x.shape[1] for x in (query, key, value, query))
    return 2 * rows * width * width + _self_attention(query, key, width)


def _encoder_layer(x: Tensor, width: int, *args: Any, **kwargs: Any) -> int:
    """Attention and the two layers behind it."""
    weights: int = args[12].numel() + args[14].numel()
    return _multi_head_attention(x, x, x, width) + 2 * x.shape[0] * x.shape[1] * weights


def _attention_on_cpu(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> int:
    pairs = query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
    return int(2 * pairs * (query.shape[3] + value.shape[3]))


def _attention_backward_on_cpu(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kw: Any) -> int:
    """The scores once more, and two products for each of the two of the forward pass."""
    pairs = query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
    return int(2 * pairs * (3 * query.shape[3] + 2 * value.shape[3]))


def _vector_product(x: Tensor, vector: Tensor, *args: Any, **kwargs: Any) -> int:
    return 2 * x.numel()


# Where PyTorch has no formula, or one that is wrong: its convolution_backward leaves out the groups, which makes
# depthwise ones hundreds of times too dear.
_FORMULAS: dict[Any, Callable[..., int]] = {
    aten.convolution_backward: _convolution_backward,
    aten._native_multi_head_attention: _multi_head_attention,
    aten._transformer_encoder_layer_fwd: _encoder_layer,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention_on_cpu,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_on_cpu,
    aten.mv: _vector_product,
    aten.dot: _vector_product,
}
