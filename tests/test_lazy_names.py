"""Names that are imported on first use are listed, so that a shell completes them."""

import pkgutil
import subprocess
import sys

import dal
import dal.analysis
import dal.data
import dal.labeling
import dal.runs


def test_dir_lists_the_public_names():
    for module in (dal, dal.analysis, dal.runs):
        assert set(module.__all__) <= set(dir(module)) and "__name__" in dir(module)


def test_no_module_has_such_a_name():
    """The import of a module replaces what its package has under its name."""
    for package in (dal, dal.analysis, dal.runs, dal.labeling, dal.data):
        assert not {module.name for module in pkgutil.iter_modules(package.__path__)} & set(package._HOMES)


def test_dir_imports_nothing():
    code = (
        "import sys, dal, dal.analysis, dal.runs; dir(dal), dir(dal.analysis), dir(dal.runs); "
        "sys.exit(bool({'torch', 'pandas'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
