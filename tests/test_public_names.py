"""What is public: the names that each package lists, and those that the guides import."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDES = sorted([ROOT / "README.md", *ROOT.glob("dal/*/README.md"), *ROOT.glob("configs/README.md")])
_ROOMS = [
    "acquisition",
    "analysis",
    "campaign",
    "costs",
    "data",
    "labeling",
    "models",
    "runs",
    "scoring",
    "stopping",
    "tasks",
    "training",
]
PUBLIC = ["dal", *(f"dal.{name}" for name in _ROOMS)]
# Rooms of the program itself. Their commands are public, their Python names are not.
PRIVATE = {"cli", "config", "reports", "runtime", "sweep"}
# For authors of acquisition functions, data sets, augmentations and click models: whole modules are public.
MODULES = {"dal.errors", "dal.acquisition.base", "dal.costs.units", "dal.data.augment", "dal.data.augment_masks"}
# Written by the reader of a guide.
OWN = {"dal.acquisition.mc_entropy"}


def test_each_room_is_public_or_private():
    rooms = {path.parent.name for path in (ROOT / "dal").glob("*/__init__.py")}
    assert rooms == PRIVATE | {name.removeprefix("dal.") for name in PUBLIC[1:]}


@pytest.mark.parametrize("package", PUBLIC)
def test_a_package_has_every_name_that_it_lists_and_an_ide_completes_them(package):
    module = importlib.import_module(package)
    assert module.__all__ and len(set(module.__all__)) == len(module.__all__)
    written = set()  # in the file, under TYPE_CHECKING too: what static tools see
    for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
        if isinstance(node, ast.ImportFrom):
            written |= {alias.asname or alias.name for alias in node.names}
    for name in module.__all__:
        assert name in written and not inspect.ismodule(getattr(module, name))
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_guides_import_public_names_only(guide):
    for block in re.findall(r"```(?:python|pycon)\n(.*?)```", guide.read_text(), flags=re.DOTALL):
        for source, names in re.findall(r"^(?:>>> )?from (dal[\w.]*) import (.+)$", block, flags=re.MULTILINE):
            if source in MODULES | OWN:
                continue
            assert source in PUBLIC, f"{source} is not public"
            listed = importlib.import_module(source).__all__
            assert set(re.findall(r"\w+", names)) <= set(listed), f"{names} from {source}"


def test_importing_a_room_of_records_loads_neither_torch_nor_pandas():
    """`dal report` and `dal --help` stay fast."""
    program = "import sys, dal.runs, dal.costs; print([m for m in ('torch', 'pandas', 'scipy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "[]"
