"""Loads an acquisition function from a user's own file."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from dal.acquisition.base import AcquisitionFunction
from dal.acquisition.registry import functions_of, registry
from dal.errors import DalError, bad_value

# Below a name of its own, so that a file called statistics.py does not stand in for Python's.
_PACKAGE = "dal_own_files"


class OwnFunction(NamedTuple):
    """The acquisition function that a file defines."""

    name: str
    """That of the file, without ``.py``."""
    path: str
    """Absolute."""
    digest: str
    """Of the file's text: 16 hexadecimal digits, which tell one version from another."""
    cls: type[AcquisitionFunction]


def load_own_file(path: str | Path) -> OwnFunction:
    """The function that the file defines, found as those of the package are: the one class in it that is not abstract.

    The file may import what lies beside it. Loading the same text again gives the same class.

    Raises:
        DalError: there is no such file, its name is no Python name or that of a function of dal, importing it fails, it
            defines no function or several, or a field has no default, which its configuration needs.

    >>> load_own_file("nowhere.py")
    Traceback (most recent call last):
    dal.errors.DalError: acquisition: expected a Python file that exists, got 'nowhere.py'.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise bad_value("acquisition", "a Python file that exists", str(path))
    file, name = file.resolve(), file.stem
    if not name.isidentifier():
        raise bad_value("acquisition", "a file whose name is a Python name, such as my_function.py", file.name)
    if name in registry():
        raise bad_value("acquisition", "a file with another name than the functions of dal have", file.name)
    digest = hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()
    module = _imported(file, f"{_PACKAGE}.{digest}.{name}")
    found = functions_of(module)
    if len(found) != 1:
        expected = f"one acquisition function in {file.name}, a subclass of AcquisitionFunction or ScoreFunction"
        raise bad_value("acquisition", expected, [cls.__name__ for cls in found] or "none")
    without = [f.name for f in fields(found[0]) if f.init and f.default is MISSING and f.default_factory is MISSING]
    if without:
        raise bad_value("acquisition", f"a default for each field of {found[0].__name__}", f"none for {without[0]}")
    return OwnFunction(name, str(file), digest, found[0])


def _imported(file: Path, name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    # At the end, where it cannot hide anything.
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except DalError as error:
        del sys.modules[name]
        raise DalError(f"{file.name}: {error}") from error
    except Exception as error:
        del sys.modules[name]
        got = f"{type(error).__name__}: {error}"
        raise DalError(f"acquisition: expected a file that can be imported, got {got} in {str(file)!r}.") from error
    return module
