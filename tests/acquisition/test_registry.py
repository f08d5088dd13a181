"""Functions are found by being in the folder, and their names can be imported from the package."""

import sys
from types import ModuleType

import pytest

import dal.acquisition
from dal.acquisition import registry as registry_function
from dal.acquisition.base import AcquisitionFunction, ScoreFunction
from dal.errors import DalError

NOT_FUNCTIONS = {
    *("AcquisitionFunction", "DiskRows", "PoolModel", "ScoreFunction", "Selection", "Shard"),
    *("ShardedFunction", "Summary", "modules", "registry", "top_scores"),
}
registry_module = sys.modules["dal.acquisition.registry"]


def test_the_functions_of_the_first_release_are_found():
    names = {name: found.__name__ for name, found in registry_function().items()}
    assert (
        names.items()
        >= {
            "random": "Random",
            "least_confidence": "LeastConfidence",
            "margin": "Margin",
            "entropy": "Entropy",
            "bald": "BALD",
            "coreset": "CoreSet",
            "badge": "BADGE",
        }.items()
    )


def test_every_public_name_can_be_imported_from_the_package():
    for module in registry_module.modules():
        assert module.__all__
        for name in module.__all__:
            assert getattr(dal.acquisition, name) is getattr(module, name)
            assert name in dal.acquisition.__all__
    written = {name for module in registry_module.modules() for name in module.__all__}
    assert set(dal.acquisition.__all__) - written == NOT_FUNCTIONS
    assert len(set(dal.acquisition.__all__)) == len(dal.acquisition.__all__)
    with pytest.raises(ImportError):
        from dal.acquisition import no_such_function  # noqa: F401


def defined_in(module, name, base=ScoreFunction):
    members = {"__module__": module.__name__, "score": lambda self, model, x: x}
    setattr(module, name, type(name, (base,), members))


def test_imported_abstract_and_helper_classes_are_not_taken_for_functions(monkeypatch):
    module, helper = ModuleType("dal.acquisition.mine"), ModuleType("dal.acquisition.helper")
    defined_in(module, "Mine")
    module.Imported = registry_function()["bald"]
    module.Abstract = type("Abstract", (AcquisitionFunction,), {"__module__": module.__name__})
    monkeypatch.setattr(registry_module, "modules", lambda: [module, helper])
    assert registry_function() == {"mine": module.Mine}


def test_two_functions_in_one_file_are_refused(monkeypatch):
    module = ModuleType("dal.acquisition.mine")
    defined_in(module, "Mine")
    defined_in(module, "Yours")
    monkeypatch.setattr(registry_module, "modules", lambda: [module])
    with pytest.raises(DalError, match=r"acquisition module mine: expected one .* per file, got \['Mine', 'Yours'\]"):
        registry_function()
