"""Targets that Hydra refuses."""

import pytest

from dal.config.trainer import with_objects
from dal.errors import DalError


def test_a_target_that_hydra_refuses_is_a_whole_sentence(monkeypatch):
    from hydra.errors import InstantiationException

    def refuse(given):  # as Hydra 1.3.8 does; older versions call the target
        raise InstantiationException(f"Target {given['_target_']!r} is not\nallowed. Set VARIABLE.")

    monkeypatch.setattr("hydra.utils.instantiate", refuse)
    with pytest.raises(DalError) as error:
        with_objects({"callbacks": {"_target_": "os.system"}})
    expected = "trainer.callbacks: expected a _target_ that creates a callback, got Target 'os.system' is not allowed."
    assert str(error.value) == expected
