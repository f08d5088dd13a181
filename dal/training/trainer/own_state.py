"""Resets the plain attributes of a module for each round.

A module may count batches, or hold a metric, a generator or an optimizer. A resumed run starts with a new module, so
each round starts from the attributes that the module had when dal first saw it. So do buffers that state_dict() leaves
out, because a run folder does not have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from inspect import Signature
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from dal.runtime.lightning_package import load, package_of

_FIRST = "_dal_first_attributes"
_UNCHANGING = (type(None), bool, int, float, complex, str, bytes, torch.device, torch.dtype, FunctionType, Signature)
"""Types of values that need no copy, because they do not change, or because a copy would be the same object."""


class _Attributes:
    """The plain attributes of all parts of a module, and the buffers that are not persistent."""

    def __init__(self, module: nn.Module) -> None:
        package = package_of(module)
        bare = load(package).LightningModule() if package else nn.Module()
        # Structure restores "forward" and the compiled call.
        self._framework = {*vars(bare), "forward", "_compiled_call_impl"}
        found = [(part, self._of(part)) for part in module.modules()]
        values = [value for _, own in found for value in own.values()]
        self._stateful = {id(thing): (thing, _state(thing)) for value in values for thing in _stateful(value)}
        shared = self._shared(module)
        self._found = [(part, _copied(own, shared)) for part, own in found]
        self._buffers = [
            (part, name, _cloned(part._buffers[name])) for part in module.modules() for name in _passing(part)
        ]

    def restore(self, module: nn.Module) -> None:
        """Restore these attributes, except those that cannot be copied."""
        shared = self._shared(module)
        for part, (first, kept) in self._found:
            for name, value in self._of(part).items():
                # Keep hooks that a user sets on the object.
                if name not in first and name not in kept and not callable(value):
                    del vars(part)[name]
            # All attributes share one memo, so that an object in two attributes stays one object.
            vars(part).update(_copied(first, shared)[0])
        for thing, state in self._stateful.values():
            _load(thing, state)
        for part, name, value in self._buffers:
            _set_buffer(part, name, value)

    def _of(self, part: nn.Module) -> dict[str, Any]:
        return {k: v for k, v in vars(part).items() if k not in self._framework and not k.startswith("_dal_")}

    def _shared(self, module: nn.Module) -> dict[int, Any]:
        """Return a deepcopy memo with the objects that copies refer to."""
        trainer = vars(module).get("_trainer")
        same = [*module.modules(), *module.parameters(), *module.buffers(), *([] if trainer is None else [trainer])]
        return {id(thing): thing for thing in [*same, *(thing for thing, _ in self._stateful.values())]}


def remember_module(module: nn.Module) -> None:
    """Save the plain attributes of a module at the first call."""
    if _FIRST not in vars(module):
        # Store them in the module, because a global table would keep the module alive.
        setattr(module, _FIRST, _Attributes(module))


def reset_module(module: nn.Module) -> None:
    """Restore the plain attributes that the module had when dal first saw it."""
    remember_module(module)
    first: _Attributes = getattr(module, _FIRST)
    first.restore(module)


def _copied(attributes: Mapping[str, Any], memo: dict[int, Any]) -> tuple[dict[str, Any], set[str]]:
    """Return copies of the attributes, and the names of those that cannot be copied."""
    made: dict[str, Any] = {}
    for name, value in attributes.items():
        if _is_unchanging(value):
            made[name] = value
            continue
        before = dict(memo)
        try:
            made[name] = deepcopy(value, memo)
        except Exception:  # noqa: BLE001  an attribute that cannot be copied stays as it is
            memo.clear()
            memo.update(before)
    return made, attributes.keys() - made.keys()


def _is_unchanging(value: Any) -> bool:
    return isinstance(value, _UNCHANGING) or (type(value) is tuple and all(map(_is_unchanging, value)))


def _passing(part: nn.Module) -> list[str]:
    """Return the names of the buffers that state_dict() leaves out."""
    return [name for name in part._buffers if name in part._non_persistent_buffers_set]


def _cloned(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.detach().clone()


@torch.no_grad()
def _set_buffer(part: nn.Module, name: str, value: Tensor | None) -> None:
    now = part._buffers.get(name)
    if now is None or value is None or now.shape != value.shape or now.is_inference():
        part._buffers[name] = value if value is None else value.to((value if now is None else now).device, copy=True)
    else:
        now.copy_(value)


def _stateful(value: Any) -> Iterator[Any]:
    """Yield the optimizers, schedulers and generators of an attribute, optimizers first."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple | set):
        found = [thing for part in value for thing in _stateful(part)]
        yield from sorted(found, key=lambda thing: not isinstance(thing, torch.optim.Optimizer))
    elif isinstance(value, torch.optim.Optimizer | torch.Generator):
        yield value
    elif isinstance(value, torch.optim.lr_scheduler.LRScheduler):
        yield value.optimizer
        yield value


def _state(thing: Any) -> Any:
    return thing.get_state() if isinstance(thing, torch.Generator) else deepcopy(thing.state_dict())


def _load(thing: Any, state: Any) -> None:
    if isinstance(thing, torch.Generator):
        thing.set_state(state)
        return
    if isinstance(thing, torch.optim.Optimizer):
        # A callback may have added groups, such as those of unfrozen layers.
        del thing.param_groups[len(state["param_groups"]) :]
    thing.load_state_dict(deepcopy(state))
