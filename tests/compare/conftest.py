from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def synthetic():
    spec = spec_from_file_location("synthetic_runs", Path(__file__).parents[1] / "analysis" / "synthetic_runs.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
