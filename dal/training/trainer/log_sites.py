"""Finds the names under which code logs metrics, without running it."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partialmethod
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import nn

_LOGS = ("log", "log_dict")
_OTHER_STAGE = re.compile(r"__init__|configure_\w+|(on_)?(test|predict)_\w+")
_VALIDATION = re.compile(r"(on_)?validation_\w+")
_RUN = re.compile(r"(on_)?(test|predict|validation)_\w+")
_FRAMEWORKS = ("lightning", "pytorch_lightning", "lightning_fabric", "torch", "abc", "typing")
_HARMLESS = ("super", "setattr", "hasattr", "isinstance", "type", "id", "len")
_READING = ("get", "items", "keys", "values", "copy")
_SUFFIXES = r"(_step|_epoch)?(/dataloader_idx_\d+)?"


@dataclass(frozen=True)
class LogSite:
    """A call of log() or log_dict() in these lines of a file.

    ``name`` is the metric, with ``*`` for what is only known when the code runs.
    """

    name: str
    file: str
    lines: range

    def may_give(self, metric: str) -> bool:
        """Return whether the call may log this metric. Lightning appends ``_step`` and ``_epoch`` to some names."""
        pattern = ".*".join(re.escape(part) for part in self.name.split("*"))
        return re.fullmatch(pattern + _SUFFIXES, metric, re.DOTALL) is not None


@dataclass(frozen=True)
class LogSites:
    """The calls of log() and log_dict() in the code of a module and of callbacks.

    ``is_complete`` tells whether no other code can log for them. ``functions`` run in training.
    """

    sites: Sequence[LogSite]
    is_complete: bool
    functions: Sequence[FunctionType]

    def mention(self, metric: str) -> bool:
        """Return whether a function contains this text, so that a later epoch may log it."""
        constants = [c for f in self.functions for code in codes_in(f.__code__) for c in code.co_consts]
        return any(metric == c or (isinstance(c, tuple | frozenset) and metric in c) for c in constants)


def log_sites(module: nn.Module, callbacks: Sequence[Any], validates: bool) -> LogSites:
    """Return the calls that log metrics in training, and in validation if it runs."""
    sites: list[LogSite] = []
    functions: list[FunctionType] = []
    # A hook that is set on the object hides that of the class.
    is_complete = not any(
        callable(value) and _is_hook(name) for thing in (module, *callbacks) for name, value in vars(thing).items()
    )
    for thing in (module, *callbacks):
        for name, function in _functions(thing):
            found = _Calls.of(function)
            is_complete = is_complete and (found is not None or name.startswith("configure_"))
            if found is None or _OTHER_STAGE.fullmatch(name) or (_VALIDATION.fullmatch(name) and not validates):
                # A function that is made here, or a kept log(), can log in training.
                keeps = found is not None and not _RUN.fullmatch(name) and (found.passes_module or bool(found.sites))
                is_complete = is_complete and not keeps
                continue
            sites += found.sites
            functions.append(function)
            is_complete = is_complete and not found.passes_module
    return LogSites(sites, is_complete, functions)


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function, and of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_in(constant)


def _is_hook(name: str) -> bool:
    return name.startswith("on_") or name in ("training_step", "validation_step", *_LOGS)


def _package(value: Any) -> str:
    """Return the package of a class or a function, which is empty for one that exec() made."""
    return (value.__module__ or "").partition(".")[0]


def _functions(thing: Any) -> Iterator[tuple[str, FunctionType]]:
    """Yield the functions of the user's classes of an object, by name."""
    for cls in type(thing).__mro__:
        if _package(cls) in _FRAMEWORKS:
            continue
        for name, value in vars(cls).items():
            plain = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            plain = plain.func if isinstance(plain, partialmethod) else plain
            yield from ((name, function) for function in _with_wrapped(plain))


def _with_wrapped(value: Any) -> Iterator[FunctionType]:
    """Yield a function, and those that a decorator keeps in it."""
    if not isinstance(value, FunctionType):
        return
    if _package(value) not in _FRAMEWORKS:
        yield value
    for cell in value.__closure__ or ():
        try:
            inner = cell.cell_contents
        except ValueError:  # the cell is empty
            continue
        if isinstance(inner, FunctionType | MethodType) and inner is not value:
            yield from _with_wrapped(getattr(inner, "__func__", inner))


class _Calls(ast.NodeVisitor):
    """Visits the calls of a function."""

    def __init__(self, function: FunctionType, first_line: int) -> None:
        code = function.__code__
        self.sites: list[LogSite] = []
        self.passes_module = False
        """Whether the function hands the module, the Trainer or its metrics to other code, which may log."""
        self._globals, self._file, self._before = function.__globals__, code.co_filename, first_line - 1
        self._objects = {*code.co_varnames[: min(1, code.co_argcount)], "trainer", "pl_module"}

    @classmethod
    def of(cls, function: FunctionType) -> _Calls | None:
        """Return the calls of a function, or None without its source."""
        try:
            lines, first = inspect.getsourcelines(function.__code__)
            indented = lines[0][:1].isspace()
            tree = ast.parse("".join(["if True:\n", *lines] if indented else lines))
        except (OSError, SyntaxError, TypeError):
            return None
        found = cls(function, first - indented)
        found.visit(tree)
        return found

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and self._is_log(node.func) and (node.args or node.keywords):
            last = node.end_lineno or node.lineno
            lines = range(self._before + node.lineno, self._before + last + 1)
            self.sites += [LogSite(name, self._file, lines) for name in _names(node)]
        visited: list[ast.expr] = [*node.args, *(keyword.value for keyword in node.keywords)]
        self.passes_module = self.passes_module or _runs_text(node)
        if _is_harmless(node):
            visited = [part for part in visited if not isinstance(part, ast.Name)]
        if isinstance(node.func, ast.Attribute):
            self._visit_base(node.func)
        elif not isinstance(node.func, ast.Name):
            visited.append(node.func)
        for part in visited:
            self.visit(part)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if self._is_log(node):  # kept for later
            self.sites.append(LogSite("*", self._file, range(0)))
        self.passes_module = self.passes_module or node.attr == "callback_metrics"
        self._visit_base(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Attribute):
            self._visit_base(node.value)
        else:
            self.visit(node.value)
        self.visit(node.slice)

    def visit_Compare(self, node: ast.Compare) -> None:
        for part in (node.left, *node.comparators):
            self._visit_base(part) if isinstance(part, ast.Attribute) else self.visit(part)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and not isinstance(node.value, ast.Name):
            self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        self.passes_module = self.passes_module or node.id in self._objects

    def _visit_base(self, node: ast.Attribute) -> None:
        base = node.value
        if isinstance(base, ast.Attribute) and base.attr == "callback_metrics" and node.attr in _READING:
            base = base.value
        if not isinstance(base, ast.Name):
            self.visit(base)

    def _is_log(self, node: ast.Attribute) -> bool:
        if node.attr not in _LOGS:
            return False
        base = getattr(node.value, "attr", getattr(node.value, "id", ""))
        return "logger" not in base and not isinstance(self._globals.get(base), ModuleType)


def _runs_text(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id in ("eval", "exec")


def _is_harmless(call: ast.Call) -> bool:
    """Return whether a function that gets the module does not log for it."""
    function = call.func
    if isinstance(function, ast.Name):
        name = call.args[1] if function.id == "getattr" and len(call.args) > 1 else None
        return function.id in _HARMLESS or (isinstance(name, ast.Constant) and name.value not in _LOGS)
    base = getattr(function, "value", None)
    of_parent = isinstance(base, ast.Call) and isinstance(base.func, ast.Name) and base.func.id == "super"
    return of_parent or getattr(function, "attr", "") == "__init__"


def _names(call: ast.Call) -> list[str]:
    """Return the metrics of a call of log() or log_dict()."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    first = call.args[0] if call.args else given.get("name", given.get("dictionary"))
    if getattr(call.func, "attr", "") == "log":
        return [_text(first)]
    if isinstance(first, ast.Dict):
        return [_text(key) for key in first.keys]
    return [_text(first.key) if isinstance(first, ast.DictComp) else "*"]


def _text(node: ast.expr | None) -> str:
    """Return the value of an expression, with ``*`` for unknown parts."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return "*"
