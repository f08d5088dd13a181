"""Layers that a module's setup() makes or wraps.

A module may make layers in ``setup()`` or ``configure_model()``, or compile a part there, which renames its weights.
Lightning calls both in each round. Each round therefore starts from the layers that the module had before the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from dal.errors import DalError
from dal.runtime.seeding import isolated_rng

COMPILED = "_orig_mod."
"""What torch.compile puts into the names of the weights of a module."""
_PLACES = ("_modules", "_parameters", "_buffers")
_CALLS = ("_compiled_call_impl", "forward")
"""Attributes of a layer that compile it where it is, without other names."""


class Structure:
    """The layers, parameters and buffers of a module, by name."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.names = set(module.state_dict())
        self._parts = [(part, {place: dict(vars(part)[place]) for place in _PLACES}) for part in module.modules()]
        # An attribute that is None until setup() makes a layer of it is not in the places above.
        self._calls = self._compiled_calls()
        self._attributes = [(part, {k: v for k, v in vars(part).items() if v is None}) for part, _ in self._parts]

    def restore(self) -> None:
        """Give the module these layers again. Their tensors keep their values."""
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
        """Return whether torch.compile has changed the module, which has the same weights."""
        now = set(self.module.state_dict())
        if now == self.names:
            return self._compiled_calls() != self._calls
        return {name.replace(COMPILED, "") for name in now} == self.names

    def _compiled_calls(self) -> dict[int, dict[str, Any]]:
        found = {id(part): {k: v for k, v in vars(part).items() if k in _CALLS} for part in self.module.modules()}
        return {part: calls for part, calls in found.items() if calls}

    @contextmanager
    def uncompiled(self) -> Iterator[None]:
        """Give the module these layers for a while, if it has compiled them."""
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
    # In the module, because a table outside would keep it alive.
    if _FIRST not in vars(module):
        setattr(module, _FIRST, Structure(module))
    structure: Structure = getattr(module, _FIRST)
    return structure


def load_weights(module: Any, weights: Mapping[str, Tensor], seed: int) -> None:
    """Load the weights of a finished round into a new module.

    If their names differ, the module's ``setup("fit")`` runs first. Raises DalError if the names still differ.
    """
    structure = first_structure(module)
    if weights.keys() != structure.names:
        with isolated_rng(seed, "setup"):
            try:
                module.setup("fit")
                module.configure_model()
            except Exception as error:
                raise _another() from error
    try:
        module.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise _another() from error


def _another() -> DalError:
    return DalError("model: expected the network that the run was started with, got another one.")
