"""Joules of a machine that is made up: three GPUs of which torch sees two, in another order."""

import sys
from types import SimpleNamespace

import pytest
import torch

from dal.costs import energy as module
from dal.costs.energy import energy_between, read_energy
from dal.costs.ledger import Ledger
from dal.costs.phases import PHASES

UUIDS = ["cccc-3", "aaaa-1"]


@pytest.fixture
def machine(monkeypatch):
    """NVML's millijoules by UUID, and the bytes that this process holds by torch's number, both to be changed."""
    state = SimpleNamespace(millijoules={"GPU-aaaa-1": 5_000, "GPU-bbbb-2": 90_000, "GPU-cccc-3": 1_000}, held=[1, 0])
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: state.millijoules[handle],
    )
    state.nvml = nvml
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=UUIDS[device]))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: state.held[device])
    return state


def use(machine, **millijoules):
    for gpu, more in millijoules.items():
        name = next(uuid for uuid in machine.millijoules if gpu in uuid)
        machine.millijoules[name] += more


def joules(ledger):
    return {key: value for key, value in ledger.row().items() if key.startswith("joules")}


def test_readings_are_of_the_devices_that_torch_sees(machine):
    assert read_energy() == {0: 1.0, 1: 5.0}


def test_energy_is_that_of_the_devices_that_are_used(machine):
    before = read_energy()
    use(machine, aaaa=2_000, bbbb=70_000, cccc=300)
    assert energy_between(before, read_energy()) == pytest.approx(0.3)
    machine.held = [1, 1]
    assert energy_between(before, read_energy()) == pytest.approx(2.3)
    machine.held = [0, 0]
    assert energy_between(before, read_energy()) is None


def test_a_group_of_processes_uses_a_device_each(machine, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    before = read_energy()
    use(machine, aaaa=2_000, cccc=300)
    assert energy_between(before, read_energy()) == pytest.approx(2.3)


def test_a_phase_inside_another_is_taken_out_of_it(machine):
    ledger = Ledger()
    with ledger.phase("train"):
        use(machine, cccc=10_000)
        with ledger.phase("validate"):
            use(machine, cccc=3_000)
        use(machine, cccc=500)
    with pytest.raises(KeyError), ledger.phase("train"):
        use(machine, cccc=250)
        raise KeyError
    use(machine, cccc=99_000)
    expected = {f"joules_{phase}": 0.0 for phase in PHASES} | {"joules_train": 10.75, "joules_validate": 3.0}
    assert joules(ledger) == expected


def test_a_ledger_goes_on_from_its_joules(machine):
    ledger = Ledger({"joules_train": 4.0, "seconds_train": 1.0, "flops_forward_train": 7})
    with ledger.phase("train"):
        use(machine, cccc=2_000)
    assert joules(ledger)["joules_train"] == 6.0
    assert Ledger(ledger.row()).row() == ledger.row()
    assert ledger.row()["flops_forward_train"] == 7


def fails(*args):
    raise RuntimeError("NVML says no")


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetTotalEnergyConsumption"])
def test_where_nvml_fails_there_are_no_joules(machine, call):
    ledger = Ledger()
    setattr(machine.nvml, call, fails)
    with ledger.phase("train"):
        pass
    assert joules(ledger) == {}


def test_a_phase_that_nvml_fails_in_is_not_measured(machine):
    ledger = Ledger()
    with ledger.phase("train"):
        use(machine, cccc=2_000)
        machine.nvml.nvmlDeviceGetTotalEnergyConsumption = fails
    assert joules(ledger) == {}


def test_without_the_package_there_are_no_joules(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert read_energy() == {}


def test_without_a_gpu_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(module, "_nvml", fails)
    ledger = Ledger()
    with ledger.phase("train"):
        pass
    assert joules(ledger) == {}
