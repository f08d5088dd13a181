"""Finds the acquisition functions that the files in this folder define."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TypeGuard

from dal.acquisition.base import AcquisitionFunction
from dal.errors import bad_value

_NOT_FUNCTIONS = {"base", "own_file", "registry", "search"}


def modules() -> list[ModuleType]:
    """Return the modules that can define an acquisition function, sorted by name.

    >>> "dal.acquisition.bald" in [module.__name__ for module in modules()]
    True
    """
    package = __name__.rpartition(".")[0]
    names = sorted(found.name for found in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return [import_module(f"{package}.{name}") for name in names if name not in _NOT_FUNCTIONS]


def registry() -> dict[str, type[AcquisitionFunction]]:
    """Return every acquisition function by name.

    The name of a function is that of its module. Modules without a function are helpers.

    Raises:
        DalError: a module defines more than one concrete function, which makes its name ambiguous.

    >>> registry()["bald"].__name__
    'BALD'
    """
    found = {}
    for module in modules():
        classes = functions_of(module)
        name = module.__name__.rpartition(".")[2]
        if len(classes) > 1:
            expected = "one acquisition function per file"
            raise bad_value(f"acquisition module {name}", expected, [c.__name__ for c in classes])
        if classes:
            found[name] = classes[0]
    return found


def functions_of(module: ModuleType) -> list[type[AcquisitionFunction]]:
    """Return the concrete acquisition functions that a module defines.

    Abstract and imported ones do not count.
    """
    return [value for value in vars(module).values() if _is_function_of(module, value)]


def _is_function_of(module: ModuleType, value: object) -> TypeGuard[type[AcquisitionFunction]]:
    return (
        inspect.isclass(value)
        and issubclass(value, AcquisitionFunction)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    )
