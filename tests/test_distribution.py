"""The name on the package index: ``dal`` is another project there."""

import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import dal

ROOT = Path(__file__).parents[1]
# `pip install dal`, `uv add "dal[slurm]"`, `dal>=0.1`: each would fetch the other project.
WRONG = re.compile(
    r"""(?:install|add|download|requires?)\s[^\n`]*"""
    r"""(?<![\w./-])['"]?dal(?:\[|['"]|[<>=~!]|\s*$|\s+-)""",
    re.MULTILINE,
)


def texts():
    try:
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        files = [path.relative_to(ROOT).as_posix() for name in ("dal", "configs", "scripts", "tests", "benchmarks")
                 for path in (ROOT / name).rglob("*")]  # fmt: skip
    for name in files:
        if name.endswith((".py", ".md", ".yaml", ".toml", ".sh", "run")) and name != "tests/test_distribution.py":
            yield name, (ROOT / name).read_text()


def test_the_distribution_has_a_name_of_its_own_and_the_import_name_stays():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "deep-active-learning"
    assert project["scripts"] == {"dal": "dal.cli.main:main"}
    assert dal.__version__ == metadata.version("deep-active-learning") == project["version"]


def test_no_text_tells_people_to_install_dal_from_an_index():
    assert {(name, *WRONG.findall(text)) for name, text in texts() if WRONG.search(text)} == set()


def test_such_a_text_would_be_found():
    for text in (
        "pip install 'dal[slurm]'",
        "pip install dal",
        "uv add dal>=0.1",
        'pip install "dal"',
        "pip install -U dal -q",
    ):
        assert WRONG.search(text), text
    for text in (
        "pip install -e '.[slurm]'",
        "pip install -e . && .venv/bin/dal run",
        "pip wheel .",
        "install it: dal run",
    ):
        assert not WRONG.search(text), text


def test_every_extra_that_a_text_names_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {extra for _, text in texts() for extra in re.findall(r"pip install -e '\.\[(\w+)\]'", text)}
    assert named and named <= set(extras)
