import sys
from types import ModuleType

import pytest
from omegaconf import OmegaConf

from dal.data.sets import registry as module
from dal.data.sets.config import DataConfig
from dal.data.sets.digits import Digits
from dal.data.sets.image_folder import ImageFolder


def test_finds_each_data_set_under_its_modules_name():
    found = module.registry()
    assert {"cifar10", "cifar100", "digits", "fashion_mnist", "image_folder"} <= set(found)
    assert found["digits"] is Digits
    assert found["image_folder"] is ImageFolder
    assert "base" not in found
    assert all(config.__module__ == f"dal.data.sets.{name}" for name, config in found.items())


def test_every_option_can_be_configured_and_has_defaults():
    for config in module.registry().values():
        configured = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(config), {"max_train": 5}))
        assert configured == config(max_train=5)


def test_two_in_one_module_are_a_mistake(monkeypatch):
    crowded = ModuleType("dal.data.sets.digits")
    for name in ("One", "Two"):
        setattr(crowded, name, type(name, (DataConfig,), {"__module__": "dal.data.sets.digits"}))
    monkeypatch.setitem(sys.modules, "dal.data.sets.digits", crowded)
    with pytest.raises(TypeError, match="must define one DataConfig, got One, Two"):
        module.registry()
