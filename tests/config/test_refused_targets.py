import pytest

from dal.config.trainer import with_objects
from dal.errors import DalError


def test_a_target_that_hydra_refuses_is_a_whole_sentence():
    with pytest.raises(DalError) as error:
        with_objects({"callbacks": {"_target_": "os.system"}})
    text = str(error.value)
    assert text.startswith("trainer.callbacks: expected a _target_ that creates a callback, got Target 'os.system' is ")
    assert text.endswith("target family.")
