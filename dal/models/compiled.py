"""Compiles passes that contain hooks with torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves

from dal.errors import DalError
from dal.runtime.memory import out_of_memory

Out = TypeVar("Out", Tensor, tuple[Tensor, Tensor])


class CompiledPasses:
    """Passes over tiles of one size, each recorded, compiled and checked when it first runs.

    torch.compile by itself looks through a module's hooks when it compiles and does not notice when they are changed. A
    record holds what the hooks did, as a plain list of operations, and it is of one shape and of these weights: make
    new CompiledPasses where either changes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._compiled: dict[tuple[Any, ...], Callable[[Tensor], Any]] = {}

    def __call__(self, name: str, run: Callable[[Tensor], Out], x: Tensor) -> Out:
        """What ``run(x)`` returns. Batches of other sizes run as they are.

        Raises DalError where the pass cannot be compiled, or where the compiled one gives other numbers.
        """
        if len(x) != self.size:
            return run(x)
        key = (name, x.shape, x.dtype, x.stride(), torch.is_autocast_enabled(x.device.type))
        if key not in self._compiled:
            self._compiled[key] = _compile(run, x)
        # The record holds the casts already.
        with torch.autocast(x.device.type, enabled=False):
            result: Out = self._compiled[key](x)
        return result


def _compile(run: Callable[[Tensor], Any], x: Tensor) -> Callable[[Tensor], Any]:
    # Errors of the model itself, such as NaN, come from the plain pass.
    expected = [value.float() for value in tree_leaves(run(x))]
    try:
        graph = make_fx(lambda tile: run(tile))(x)
        compiled: Callable[[Tensor], Any] = torch.compile(graph, dynamic=False, fullgraph=True)
        with torch.autocast(x.device.type, enabled=False):
            found = [value.float() for value in tree_leaves(compiled(x))]
    except Exception as error:
        if out_of_memory(error):
            raise
        why = str(error).strip().partition("\n")[0]
        raise DalError(
            f"scoring.compile: expected a network that torch.compile can take, got {type(error).__name__}: {why}; set "
            "scoring.compile=false."
        ) from error
    # Half precision and TF32 (which CUDA convolutions have by default) round otherwise in another order of operations.
    coarse = torch.is_autocast_enabled(x.device.type) or x.device.type == "cuda"
    rtol, atol = (5e-2, 5e-2) if coarse else (1e-2, 1e-3)
    for ours, theirs in zip(found, expected, strict=True):
        if not torch.allclose(ours, theirs, rtol=rtol, atol=atol, equal_nan=True):
            raise DalError(
                "scoring.compile: expected the compiled network to give the numbers of the plain one, got a difference "
                f"of {float((ours - theirs).abs().max()):.2g}; set scoring.compile=false."
            )
    return compiled
