"""Registry of acquisition functions: every file of this folder that defines one."""

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
    """The modules of this folder that may hold an acquisition function, by name.

    >>> "dal.acquisition.bald" in [module.__name__ for module in modules()]
    True
    """
    package = __name__.rpartition(".")[0]
    names = sorted(found.name for found in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return [import_module(f"{package}.{name}") for name in names if name not in _NOT_FUNCTIONS]


def registry() -> dict[str, type[AcquisitionFunction]]:
    """Every acquisition function by its name, which is that of its module; modules without one are helpers.

    Raises:
        DalError: a module defines more than one that is not abstract, so its name would not say which.

    >>> registry()["bald"].__name__
    'BALD'
    """
    found = {}
    for module in modules():
        classes = functions_of(module)
        name = module.__name__.rpartition(".")[2]
        if len(classes) > 1:
            expected = "one acquisition function a file"
            raise bad_value(f"acquisition module {name}", expected, [c.__name__ for c in classes])
        if classes:
            found[name] = classes[0]
    return found


def functions_of(module: ModuleType) -> list[type[AcquisitionFunction]]:
    """The acquisition functions that a module defines itself; abstract and imported ones do not count."""
    return [value for value in vars(module).values() if _is_function_of(module, value)]


def _is_function_of(module: ModuleType, value: object) -> TypeGuard[type[AcquisitionFunction]]:
    return (
        inspect.isclass(value)
        and issubclass(value, AcquisitionFunction)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    )
