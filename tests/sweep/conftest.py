"""Stand-ins for cells."""

import pytest

from dal.sweep.process import Spawned


@pytest.fixture
def spawning():
    """From a function that gives the command of a cell, how run_locally is to begin one."""
    return lambda command: lambda overrides, log, environment: Spawned(command(overrides), log, environment)
