"""Threads of PyTorch that wait do not keep a core busy that another program needs."""

import os
import subprocess
import sys

import pytest

COMMAND = """
import os, sys
import dal.cli.commands, dal.cli.main
assert "torch" not in sys.modules, "it would not read the variable any more"
dal.cli.commands.command_of = lambda given: lambda: print(os.environ.get("GOMP_SPINCOUNT")) or 0
dal.cli.main.main([])
"""


@pytest.mark.parametrize(
    ("given", "used"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_a_command_sets_how_long_threads_wait_unless_the_user_does(given, used):
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND], env=kept | given, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == used
