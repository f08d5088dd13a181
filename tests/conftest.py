"""Small real data and quick training, for the tests of the loop."""

import gc
import os
import signal

# Two test processes with a thread a core each would wait for one another most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from helpers import shared_helpers, synthetic_runs
from helpers.toys import toy_data, toy_model
from hydra.core.config_store import ConfigStore

from dal.training import TrainingConfig


def pytest_collection_finish(session):
    """Full collections pass over the imported libraries and the collected tests, which live to the end.

    Python makes fewer full collections the more objects it knows. The threshold keeps them as rare as before.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 40)


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
