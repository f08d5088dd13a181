"""Compiles passes that contain hooks with torch.compile."""

from __future__ import annotations

import atexit
from collections import OrderedDict
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves

from dal.errors import DalError
from dal.runtime.memory import out_of_memory

Out = TypeVar("Out", Tensor, tuple[Tensor, Tensor])


class CompiledPasses:
    """Passes over tiles of one size, compiled on first use.

    torch.compile alone traces a module's hooks when it compiles and does not notice later changes to them. Therefore
    the first run of a pass is recorded as a plain list of operations, including those of the hooks. The recording is
    compiled, and its output is compared with that of the plain pass. A recording is valid for one shape and for the
    current weights. Create new CompiledPasses when either changes. A recording of the same operations on other weights
    is not compiled again, because compiled code takes weights and masks as inputs.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._compiled: dict[tuple[Any, ...], Callable[[Tensor], Any]] = {}

    def __call__(self, name: str, run: Callable[[Tensor], Out], x: Tensor) -> Out:
        """Return ``run(x)``, compiled if the batch has the tile size.

        Raises DalError if the pass cannot be compiled or if the compiled pass returns other numbers.
        """
        if len(x) != self.size:
            return run(x)
        key = (name, x.shape, x.dtype, x.stride(), torch.is_autocast_enabled(x.device.type))
        if key not in self._compiled:
            self._compiled[key] = _compile(run, x)
        # The recording already contains the casts.
        with torch.autocast(x.device.type, enabled=False):
            result: Out = self._compiled[key](x)
        return result


def _compile(run: Callable[[Tensor], Any], x: Tensor) -> Callable[[Tensor], Any]:
    # Run the plain pass first, so that the model's own errors surface unchanged.
    expected = [value.float() for value in tree_leaves(run(x))]
    try:
        compiled = _compiled(make_fx(lambda tile: run(tile))(x), x)
        with torch.autocast(x.device.type, enabled=False):
            found = [value.float() for value in tree_leaves(compiled(x))]
    except Exception as error:
        if out_of_memory(error):
            raise
        why = str(error).strip().partition("\n")[0]
        raise DalError(
            f"scoring.compile: expected a network that torch.compile supports, got {type(error).__name__}: {why}. Set "
            "scoring.compile=false."
        ) from error
    # With half precision or TF32 (the default of CUDA convolutions), rounding depends on the order of operations.
    coarse = torch.is_autocast_enabled(x.device.type) or x.device.type == "cuda"
    rtol, atol = (5e-2, 5e-2) if coarse else (1e-2, 1e-3)
    for ours, theirs in zip(found, expected, strict=True):
        if not torch.allclose(ours, theirs, rtol=rtol, atol=atol, equal_nan=True):
            raise DalError(
                "scoring.compile: expected the compiled network to match the plain one, got a difference "
                f"of {float((ours - theirs).abs().max()):.2g}. Set scoring.compile=false."
            )
    return compiled


_MOST_KEPT = 32
_kept: OrderedDict[Any, Callable[..., Any]] = OrderedDict()
"""Compiled code by its operations and inputs, the latest last."""
# PyTorch reports an error for compiled code that lives until Python has ended.
atexit.register(_kept.clear)


def _compiled(recorded: GraphModule, x: Tensor) -> Callable[[Tensor], Any]:
    """Compile a recording, or take the compiled code of an equal one."""
    graph, held = _without_tensors(recorded)
    forms = tuple((part.shape, part.stride(), part.dtype, part.device, part.is_inference()) for part in (x, *held))
    # The text of a graph leaves out the graphs that it holds.
    key = None if any(node.op in ("get_attr", "call_module") for node in graph.nodes) else (str(graph), forms)
    code = _kept.pop(key, None) if key else None
    if code is None:
        code = torch.compile(GraphModule(recorded, graph), dynamic=False, fullgraph=True)
    if key:
        _kept[key] = code
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    found: Callable[..., Any] = code
    return lambda tile: found(tile, *held)


def _without_tensors(recorded: GraphModule) -> tuple[Graph, list[Tensor]]:
    """Return a graph that takes the tensors that the recording holds as inputs, and these tensors."""
    graph, held, inputs = recorded.graph, list[Tensor](), dict[str, Node]()
    last = next(node for node in graph.nodes if node.op == "placeholder")
    for node in list(graph.nodes):
        if node.op != "get_attr" or not isinstance(value := attrgetter(str(node.target))(recorded), Tensor):
            continue
        name = str(node.target)
        if name not in inputs:
            with graph.inserting_after(last):
                last = inputs[name] = graph.placeholder(f"held_{len(held)}")
            held.append(value.detach())
        node.replace_all_uses_with(inputs[name])
        graph.erase_node(node)
    graph.lint()
    return graph, held
