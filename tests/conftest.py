"""Small real data and quick training, for the tests of the loop."""
# ruff: noqa: E402  collections are off before the imports

import gc
import os
import signal
from pathlib import Path

# Imports leave little garbage. pytest_collection_finish() turns collections on again.
gc.disable()
# Two test processes with a thread a core each would wait for one another most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from helpers import shared_helpers, synthetic_runs
from helpers.toys import toy_data, toy_model
from hydra.core.config_store import ConfigStore

from dal.training import TrainingConfig

TESTS = Path(__file__).parent
SLOW_FILES = (
    "test_readme.py",
    "campaign/test_people.py",
    "sweep/test_forked.py",
    "sweep/test_command.py",
    "runs/test_kill.py",
    "cli/test_own_function.py",
    "cli/test_label.py",
    "config/test_option_properties.py",
    "labeling/people/page/test_browser.py",
    "campaign/test_diagnosed.py",
    "tasks/test_multi_label.py",
    "cli/test_main.py",
    "test_benchmark_people_commands.py",
    "test_benchmark_cases.py",
    "training/test_frozen_campaigns.py",
)
"""Files that take many seconds. They start first, so that no process is left with one of them at the end."""


def pytest_configure(config):
    if missing := [name for name in SLOW_FILES if not (TESTS / name).is_file()]:
        raise pytest.UsageError(f"SLOW_FILES in tests/conftest.py: expected files below tests, got {missing}.")
    # pytest-xdist starts the files with most tests first. Most slow files have few.
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    ranks = {TESTS / name: rank for rank, name in enumerate(SLOW_FILES)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


def pytest_collection_finish(session):
    """Full collections pass over the imported libraries and the collected tests, which live to the end.

    Python makes fewer full collections the more objects it knows. The threshold keeps them as rare as before.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 40)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def own_state_folder(tmp_path_factory):
    """The tests trust no file in the name of the person who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_composition():
    """Hydra copies all registered configurations for each composition, although it copies what it loads of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigStore, "__deepcopy__", lambda store, memo: store, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_pictures():
    """Pictures of a small run take longer to draw than the run. Tests of what is drawn ask for real_pictures."""
    from helpers.pictures import without_drawing

    with without_drawing() as real:
        yield real


@pytest.fixture
def real_pictures(quick_pictures, monkeypatch):
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", quick_pictures)


@pytest.fixture(scope="session", autouse=True)
def sigint_arrives():
    """A shell ignores SIGINT for what it starts in the background, and all that the tests start inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def nothing_left_open():
    """What earlier tests left open is collected now: its ResourceWarning is none of the next test."""
    gc.collect()


@pytest.fixture
def recwarn(nothing_left_open, recwarn):
    return recwarn


@pytest.fixture
def data():
    return toy_data()


@pytest.fixture
def test_data():
    return toy_data(60, seed=1)


@pytest.fixture
def new_model():
    return toy_model


@pytest.fixture
def quick():
    return TrainingConfig(batch_size=16, min_updates=5, max_updates=20, check_every=10)


@pytest.fixture(scope="session")
def shared():
    """tests/helpers/shared_helpers.py"""
    return shared_helpers


@pytest.fixture(scope="session")
def synthetic():
    """tests/helpers/synthetic_runs.py"""
    return synthetic_runs
