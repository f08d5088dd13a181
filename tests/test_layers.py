"""The house: imports go downward only, and the top of dal/ stays small."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "dal"

# From the bottom up. Rooms of one row do not import each other; inside a room, files may.
LAYERS = [
    ["errors"],
    ["runtime", "tasks"],
    ["costs", "acquisition", "data", "models"],
    ["runs"],
    ["labeling"],
    ["analysis", "scoring"],
    ["reports", "training", "stopping"],
    ["loop"],
    ["campaign", "config"],
    ["sweep"],
    ["cli"],
    ["__main__"],
]
# dal/__init__.py hands out names of modules above on first use, and holds the version, which any module may read.
TOP = "__init__"


def layer_of(name):
    for number, names in enumerate(LAYERS):
        if name in names:
            return number
    raise AssertionError(f"{name!r} has no place in LAYERS")


@cache
def text_of(path):
    return path.read_text()


@cache
def nodes(source):
    """The imports and functions of a source."""
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]


def imported(source, module):
    """(dotted name, line) of everything that a module imports, at its head or inside a function."""
    package = module if module.endswith("__init__") else module.rpartition(".")[0]
    for node in nodes(source):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.removesuffix(".__init__").split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            # `from dal import loop` names the module only after the import.
            if base == "dal":
                yield from ((f"dal.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield base, node.lineno


def upward_imports(source, module):
    """Sentences about imports of ``module`` that do not go downward."""
    own = module.split(".")[1]
    found = []
    for name, line in imported(source, module):
        parts = name.split(".")
        if parts[0] != "dal" or name == "dal.__version__":
            continue
        other = parts[1]
        if other != own and layer_of(other) >= layer_of(own):
            found.append(f"{module}:{line} imports {name}")
    return found


@cache
def modules():
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts != (TOP,):
            found.append((".".join(("dal", *parts)), path))
    return found


@pytest.mark.parametrize(("module", "path"), [pytest.param(*m, id=m[0]) for m in modules()])
def test_imports_go_downward(module, path):
    assert upward_imports(text_of(path), module) == []


@pytest.mark.parametrize(
    ("module", "line", "caught"),
    [
        ("dal.labeling.pool", "from dal.loop import run", True),
        ("dal.labeling.pool", "import dal.loop", True),
        ("dal.labeling.pool", "from dal import loop", True),
        ("dal.labeling.pool", "from ..loop import run", True),
        ("dal.labeling.pool", "def f():\n    from dal.loop import run", True),
        ("dal.labeling.pool", "from dal.runs.folder import RunFolder", False),
        ("dal.runs.folder", "from dal.labeling.pool import Pool", True),
        ("dal.labeling.pool", "from .oracle import Oracle", False),
        ("dal.models.adapt", "from dal.data.images import ImageData", True),
        ("dal.models.adapt", "from ..scoring.model_pass import pool_pass", True),
        ("dal.models.adapt", "from .classifier import Classifier", False),
        ("dal.models.__init__", "from .classifier import Classifier", False),
        ("dal.models.backbones.base", "from dal.models.adapt import adapt", False),
        ("dal.labeling.pool", "from dal.errors import DalError", False),
        ("dal.labeling.pool", "from dal import __version__", False),
        ("dal.loop", "from dal.labeling.pool import Pool", False),
        ("dal.reports.drawing", "import torch", False),
    ],
)
def test_an_upward_import_would_be_caught(module, line, caught):
    assert bool(upward_imports(line, module)) == caught


def test_a_new_room_needs_a_place():
    with pytest.raises(AssertionError, match="'shiny' has no place in LAYERS"):
        upward_imports("from dal.shiny import thing", "dal.loop")
    named = {name for names in LAYERS for name in names}
    assert named == {module.split(".")[1] for module, _ in modules()}
    assert len(named) == sum(map(len, LAYERS))


def foreign_to_acquisition(source, module):
    allowed = {*sys.stdlib_module_names, "torch", "numpy", "scipy", "sklearn", "threadpoolctl"}
    ours = ("dal.errors", "dal.runtime.precision", "dal.runtime.ranges", "dal.acquisition")
    return [
        name for name, _ in imported(source, module) if name.split(".")[0] not in allowed and not name.startswith(ours)
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "acquisition").rglob("*.py")), ids=lambda path: path.stem)
def test_acquisition_is_a_library_in_itself(path):
    assert foreign_to_acquisition(text_of(path), f"dal.acquisition.{path.stem}") == []


@pytest.mark.parametrize(
    "line", ["import pytorch_lightning", "from dal.runtime.seeding import generator", "import dal.labeling.pool"]
)
def test_what_acquisition_may_not_import_would_be_caught(line):
    assert foreign_to_acquisition(line, "dal.acquisition.bald")


def test_analysis_and_reports_read_folders_without_torch():
    """Reports are made on machines that have no torch, and at once."""
    names = (
        "committed",
        "dynamics",
        "final_model",
        "journal",
        "layout",
        "reader",
        "refits",
        "round",
        "saved_config",
        "state",
        "wilson",
    )
    runs = [f"dal.runs.{name}" for name in names]
    light = ("dal.errors", "dal.runtime.refusals", "dal.costs.phases", "dal.costs.prices", *runs)
    rooms = ("dal.analysis", "dal.reports", *light)
    for module, path in modules():
        if module.startswith(rooms):
            heavy = {name.split(".")[0] for name, _ in imported(text_of(path), module)}
            assert not heavy & {"torch", "pytorch_lightning", "torchvision"}, module


@cache
def arrows():
    """(from, to) of all imports within dal, module to module; a package stands for its __init__."""
    names = {module.removesuffix(".__init__") for module, _ in modules()}
    found = set()
    for module, path in modules():
        for node in nodes(text_of(path)):
            if isinstance(node, ast.ImportFrom) and node.module in names:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found.add((module.removesuffix(".__init__"), inner if inner in names else node.module))
            elif isinstance(node, ast.Import):
                found |= {(module.removesuffix(".__init__"), a.name) for a in node.names if a.name in names}
    return {(a, b) for a, b in found if a != b}


def circle(pairs):
    """The names of a circle of arrows; empty where there is none."""
    follows = {}
    for a, b in pairs:
        follows.setdefault(a, set()).add(b)
    done = set()

    def walk(name, path):
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        for other in follows.get(name, ()):
            if found := walk(other, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(follows) if (found := walk(name, []))), [])


def test_no_circle_between_files_or_rooms():
    assert circle(arrows()) == []
    assert circle({(a.split(".")[1], b.split(".")[1]) for a, b in arrows() if a.split(".")[1] != b.split(".")[1]}) == []


def test_a_circle_would_be_found():
    assert set(circle({("a", "b"), ("b", "c"), ("c", "a"), ("a", "d")})) == {"a", "b", "c"}


def test_the_top_of_dal_is_small():
    top = {path.name for path in ROOT.iterdir() if path.suffix in (".py", ".typed") or (path / "__init__.py").exists()}
    assert len({name for name in top if not name.startswith("__")}) <= 20
    rooms = {(a.split(".")[1], b.split(".")[1]) for a, b in arrows()}
    assert len({(a, b) for a, b in rooms if a != b}) <= 120


def test_imports_for_type_checkers_alone_hide_no_circle():
    """Only names that a type checker needs and a start must not wait for stand there."""
    guarded = {path.relative_to(ROOT).as_posix() for _, path in modules() if "TYPE_CHECKING" in text_of(path)}
    rooms = {f"{room}/__init__.py" for room in ("analysis", "data", "labeling", "runs")}
    assert guarded <= {"runs/files/atomic.py", *rooms}


# Constructors that people call with keywords may take more.
CONSTRUCTORS = {"__init__", "from_dataset"}


def functions():
    for module, path in modules():
        for node in nodes(text_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{module}.{node.name}", node


def parameters(node):
    given = node.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg) if a]
    return [name for name in names if name not in ("self", "cls")]


def test_functions_are_short_and_take_few_parameters():
    assert {name for name, node in functions() if node.end_lineno - node.lineno >= 60} == set()
    wide = {name for name, node in functions() if len(parameters(node)) > 8 and node.name not in CONSTRUCTORS}
    assert wide == set()


def test_files_are_short():
    assert {module for module, path in modules() if len(text_of(path).splitlines()) >= 320} == set()
