"""Reads dataclasses from source text, without importing PyTorch."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Field:
    """A field of a dataclass, as defined in the source."""

    name: str
    default: Any
    sentence: str
    owner: str
    """The class that defines it."""


@dataclass(frozen=True)
class Source:
    """A class in a file."""

    file: Path
    node: ast.ClassDef


def module_file(module: str) -> Path | None:
    """Return the file of a dal module, or None for other modules.

    >>> module_file("dal.config.source").name
    'source.py'
    """
    top, *parts = module.split(".")
    if top != PACKAGE.name:
        return None
    place = PACKAGE.joinpath(*parts)
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def summary(file: Path) -> str:
    """Return the first sentence of a module's docstring, without its period.

    >>> summary(PACKAGE / "errors.py").count(".")
    0
    """
    return first_sentence(ast.get_docstring(_parse(file)) or "").removesuffix(".")


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, on one line.

    >>> first_sentence("Half, 0.5, of\\n    them. The rest.")
    'Half, 0.5, of them.'
    """
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", paragraph, maxsplit=1)[0]


def find_class(file: Path, name: str) -> Source | None:
    """Return the class with a name in a file, or None.

    Follows imports from other files of dal.
    """
    place, node = _find(file, name)
    return Source(place, node) if isinstance(node, ast.ClassDef) else None


def find_value(file: Path, name: str) -> Any:
    """Return the literal assigned to a name in a file.

    Follows imports from other files of dal. Raises ValueError if the value is not a literal.
    """
    place, node = _find(file, name)
    if not isinstance(node, ast.expr):
        raise ValueError(f"{name}: expected a constant in {file}.")
    return _value(place, node)


def subclasses(file: Path, base: str) -> list[Source]:
    """Return the classes in a file that inherit from a dal class."""
    defined = [Source(file, node) for node in _parse(file).body if isinstance(node, ast.ClassDef)]
    return [one for one in defined if base in [parent.node.name for parent in _lineage(one)][:-1]]


def fields_of(source: Source) -> list[Field]:
    """Return the constructor fields of a dataclass, inherited ones first.

    >>> [f.sentence for f in fields_of(find_class(PACKAGE / "config" / "source.py", "Source"))]
    ['', '']
    """
    found: dict[str, Field] = {}
    for one in _lineage(source):
        arguments = _argument_sentences(ast.get_docstring(one.node) or "")
        for node, below in zip(one.node.body, [*one.node.body[1:], None], strict=True):
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            name = node.target.id
            if not _is_field(node):
                found.pop(name, None)  # a base class may define it as a field
                continue
            sentence = _docstring(below) or arguments.get(name, "") or _comment(one.file, node)
            default = None if node.value is None else _default(one.file, node.value)
            found[name] = Field(name, default, sentence, one.node.name)
    return list(found.values())


@cache
def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _find(file: Path, name: str) -> tuple[Path, ast.ClassDef | ast.expr | None]:
    """Return the file that defines a name, and its class or value.

    The second item is None if the name is neither a class nor a value.
    """
    for node in _parse(file).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return file, node
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return file, node.value
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return file, node.value
        if isinstance(node, ast.ImportFrom) and node.module:
            original = next((a.name for a in node.names if (a.asname or a.name) == name), None)
            place = module_file(node.module) if original else None
            if original and place:
                return _find(place, original)
    return file, None


def _lineage(source: Source) -> Iterator[Source]:
    """Yield a class after its ancestors, the most distant one first.

    Ancestors outside dal and the file of the class are omitted.
    """
    for base in source.node.bases:
        parent = find_class(source.file, base.id) if isinstance(base, ast.Name) else None
        if parent is not None:
            yield from _lineage(parent)
    yield source


def _is_field(node: ast.AnnAssign) -> bool:
    if "ClassVar" in ast.unparse(node.annotation):
        return False
    return not (isinstance(node.value, ast.Call) and "init=False" in ast.unparse(node.value))


def _default(file: Path, node: ast.expr) -> Any:
    """Return the default value, or the text of a non-literal expression."""
    keywords = {k.arg: k.value for k in node.keywords} if isinstance(node, ast.Call) else {}
    factory = keywords.get("default_factory")
    node = keywords.get("default", factory.body if isinstance(factory, ast.Lambda) else node)
    try:
        return _value(file, node)
    except ValueError:
        return ast.unparse(node)


def _value(file: Path, node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return find_value(file, node.id)
    return ast.literal_eval(node)


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


def _argument_sentences(docstring: str) -> dict[str, str]:
    """Return the first sentence of each entry in ``Args:``."""
    section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", docstring, re.MULTILINE)
    entries = re.split(r"^    (\w+): ", section[1], flags=re.MULTILINE) if section else [""]
    return {name: first_sentence(text) for name, text in zip(entries[1::2], entries[2::2], strict=True)}


def _comment(file: Path, node: ast.AnnAssign) -> str:
    line = file.read_text(encoding="utf-8").splitlines()[(node.end_lineno or node.lineno) - 1]
    rest = line.encode()[node.end_col_offset :].decode().strip()
    return rest.lstrip("# ") if rest.startswith("#") else ""
