"""Loads an acquisition function from a user's own file."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from contextlib import suppress
from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from dal.acquisition.base import AcquisitionFunction
from dal.acquisition.registry import functions_of, registry
from dal.errors import DalError, bad_content, bad_value

# A separate package name keeps a file called statistics.py from shadowing Python's.
_PACKAGE = "dal_own_files"


class OwnFunction(NamedTuple):
    """The acquisition function that a file defines."""

    name: str
    """The file name without ``.py``."""
    path: str
    """The absolute path."""
    digest: str
    """A hash of the file's text (16 hexadecimal digits), which identifies its version."""
    cls: type[AcquisitionFunction]


def load_own_file(path: str | Path) -> OwnFunction:
    """Load the acquisition function that a file defines.

    As in the package, this is the only concrete function in the file. The file may import modules from its own folder.
    Loading the same text again returns the same class.

    Raises:
        DalError: the file does not exist, its name is not a Python identifier or is the name of a function in dal,
            importing it fails, it does not define exactly one function, or a field has no default, which the
            configuration needs.

    >>> load_own_file("nowhere.py")
    Traceback (most recent call last):
    dal.errors.DalError: acquisition: expected an existing Python file, got 'nowhere.py'.
    """
    file, exists = Path(path), False
    # The user of ~USER may be unknown, and the name too long.
    with suppress(OSError, RuntimeError, ValueError):
        file = file.expanduser()
        exists = file.is_file()
    if not exists:
        raise bad_value("acquisition", "an existing Python file", str(path))
    file, name = file.resolve(), file.stem
    if not name.isidentifier():
        raise bad_value("acquisition", "a file name that is a Python identifier, such as my_function.py", file.name)
    if name in registry():
        raise bad_value("acquisition", "a file name that no function in dal has", file.name)
    digest = file_digest(file)
    module = _imported(file, f"{_PACKAGE}.{digest}.{name}")
    found = functions_of(module)
    if len(found) != 1:
        expected = f"one acquisition function in {file.name}, a subclass of AcquisitionFunction or ScoreFunction"
        raise bad_value("acquisition", expected, [cls.__name__ for cls in found] or "none")
    without = [f.name for f in fields(found[0]) if f.init and f.default is MISSING and f.default_factory is MISSING]
    if without:
        raise bad_content(f"{found[0].__name__}.{without[0]}", "a default value", "none")
    return OwnFunction(name, str(file), digest, found[0])


def file_digest(file: Path) -> str:
    """Return the digest that tells one version of a file from another."""
    return hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()


def _imported(file: Path, name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    # Appended, so that the folder cannot shadow installed modules.
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before execution, because dataclasses look up their module
    try:
        spec.loader.exec_module(module)
    except DalError as error:
        del sys.modules[name]
        raise DalError(f"{file.name}: {error}") from error
    except Exception as error:  # the user's code may raise any error
        del sys.modules[name]
        got = f"{type(error).__name__}: {error}"
        raise DalError(f"acquisition: expected a file that can be imported, got {got} in {str(file)!r}.") from error
    return module
