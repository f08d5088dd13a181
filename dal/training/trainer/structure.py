"""Restores the layers that a module had before its setup().

A module may create layers in ``setup()`` or ``configure_model()``, or compile submodules there, which renames their
weights. Lightning calls both in each round. Therefore, each round starts from the layers that the module had before the
first round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from dal.errors import DalError
from dal.models.state import load_state

COMPILED = "_orig_mod."
"""The part that torch.compile inserts into the names of weights."""
_PLACES = ("_modules", "_parameters", "_buffers")
_CALLS = ("_compiled_call_impl", "forward")
"""Attributes that compile a layer in place, without renaming its weights."""


class Structure:
    """The layers, parameters and buffers of a module, by name."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.names = set(module.state_dict())
        self._parts = [(part, {place: dict(vars(part)[place]) for place in _PLACES}) for part in module.modules()]
        # The dicts above do not include attributes that are None until setup() assigns a layer, so keep them too.
        self._calls = self._compiled_calls()
        self._attributes = [(part, {k: v for k, v in vars(part).items() if v is None}) for part, _ in self._parts]

    def restore(self) -> None:
        """Restore these layers in the module. Their tensors keep their values."""
        for part, places in self._parts:
            for place, content in places.items():
                vars(part)[place].clear()
                vars(part)[place].update(content)
        for part, attributes in self._attributes:
            for name, value in attributes.items():
                vars(part).setdefault(name, value)
        for part, _ in self._parts:
            for name in _CALLS:
                vars(part).pop(name, None)
            vars(part).update(self._calls.get(id(part), {}))

    def is_compiled(self) -> bool:
        """Return whether the module is compiled and has the same weights."""
        now = set(self.module.state_dict())
        if now == self.names:
            return self._compiled_calls() != self._calls
        return {name.replace(COMPILED, "") for name in now} == self.names

    def _compiled_calls(self) -> dict[int, dict[str, Any]]:
        found = {id(part): {k: v for k, v in vars(part).items() if k in _CALLS} for part in self.module.modules()}
        return {part: calls for part, calls in found.items() if calls}

    @contextmanager
    def uncompiled(self) -> Iterator[None]:
        """Restore these layers inside the context if the module has compiled them."""
        if not self.is_compiled():
            yield
            return
        compiled = Structure(self.module)
        self.restore()
        try:
            yield
        finally:
            compiled.restore()


_FIRST = "_dal_first_structure"


def first_structure(module: nn.Module) -> Structure:
    """Return the structure that the module had at the first call."""
    # Store it in the module, because a global table would keep the module alive.
    if _FIRST not in vars(module):
        setattr(module, _FIRST, Structure(module))
    structure: Structure = getattr(module, _FIRST)
    return structure


def load_weights(module: Any, weights: Mapping[str, Tensor], hooks: Callable[[], Iterator[None]]) -> None:
    """Load the weights of a finished round into a new module.

    If their names differ, ``hooks`` calls those that create layers, one by one, until they are equal. Raises DalError
    if they still differ.
    """
    first_structure(module)
    steps = iter(hooks())
    try:
        while weights.keys() != module.state_dict().keys() and next(steps, _END) is not _END:
            pass
    except DalError as error:
        raise _another() from error
    try:
        load_state(module, weights)
    except (DalError, RuntimeError) as error:
        raise _another() from error


_END = object()


def _another() -> DalError:
    return DalError("model: expected the network with which the run started, got another one.")
