from pathlib import Path

import pytest
import torch

from dal.costs import ledger as module
from dal.costs.ledger import Ledger
from dal.costs.phases import PHASES, Costs, total_costs
from dal.costs.prices import BILL


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves when it is told to, so that seconds can be checked exactly."""
    now = [100.0]
    monkeypatch.setattr(module, "_synchronized_time", lambda: now[0])

    def sleep(seconds):
        now[0] += seconds

    return sleep


def seconds(ledger):
    return {phase: ledger.row()[f"seconds_{phase}"] for phase in PHASES if ledger.row()[f"seconds_{phase}"]}


def test_a_phase_inside_another_is_taken_out_of_it(clock):
    ledger = Ledger()
    with ledger.phase("score"):
        clock(1)
    with ledger.phase("train"):
        clock(10)
        for _ in range(2):
            with ledger.phase("validate"):
                clock(3)
                with ledger.phase("test"):
                    clock(0.5)
        clock(20)
    clock(1000)
    assert seconds(ledger) == {"score": 1, "train": 30, "validate": 6, "test": 1}


def test_a_phase_inside_itself_is_counted_once(clock):
    ledger = Ledger()
    with ledger.phase("train"):
        clock(1)
        with ledger.phase("train"):
            clock(2)
    assert seconds(ledger) == {"train": 3}


def test_a_phase_that_fails_has_cost_what_it_has_cost(clock):
    ledger = Ledger()
    with pytest.raises(KeyError), ledger.phase("train"), ledger.phase("validate"):
        clock(2)
        raise KeyError
    with ledger.phase("train"):
        clock(5)
    assert seconds(ledger) == {"train": 5, "validate": 2}


def test_counts_add_up_and_missing_ones_are_zero():
    ledger = Ledger()
    ledger.add("score", samples_forward=5)
    ledger.add("score", samples_forward=7)
    ledger.add("train", samples_forward=2, samples_backward=1)
    ledger.add("score", flops_forward=100, flops_draws=60)
    ledger.add("select", flops=9)
    row = ledger.row()
    assert {k: v for k, v in row.items() if k.startswith(("samples", "flops"))} == {
        "samples_forward_embed": 0,
        "samples_forward_score": 12,
        "samples_forward_train": 2,
        "samples_forward_validate": 0,
        "samples_forward_test": 0,
        "samples_forward_stop": 0,
        "samples_forward_diagnose": 0,
        "samples_backward_train": 1,
        "flops_forward_embed": 0,
        "flops_forward_score": 100,
        "flops_forward_train": 0,
        "flops_forward_validate": 0,
        "flops_forward_test": 0,
        "flops_forward_stop": 0,
        "flops_forward_diagnose": 0,
        "flops_backward_train": 0,
        "flops_draws_score": 60,
        "flops_select": 9,
        "flops_diagnose": 0,
    }
    assert {k for k in row if k.startswith("seconds")} == {f"seconds_{phase}" for phase in PHASES}


def test_phases_of_the_bill_are_those_of_the_ledger():
    assert {phase for phases in BILL.values() for phase in phases} == set(PHASES)


def test_a_ledger_keeps_costs_by_phase():
    ledger = Ledger()
    ledger.add("score", flops_forward=100, flops_draws=60)
    ledger.add("select", flops=9)
    assert ledger.costs == {"score": Costs(flops_forward=100, flops_draws=60), "select": Costs(flops=9)}
    assert total_costs(ledger.costs).total_flops == 109
    with pytest.raises(AttributeError, match="flops_sideways"):
        ledger.add("score", flops_sideways=1)


def test_a_phase_of_ones_own_has_its_seconds(clock):
    ledger = Ledger()
    with ledger.phase("mine"):
        clock(2)
    assert ledger.row()["seconds_mine"] == 2


def test_memory_is_the_highest_that_was_seen(monkeypatch):
    ledger = Ledger()
    for bytes_now in (5, 9, 7):
        monkeypatch.setattr(module, "_peak_memory", lambda value=bytes_now: value)
        with ledger.phase("train"):
            pass
    assert ledger.row()["peak_memory_bytes"] == 9


def test_memory_is_read_when_the_outermost_phase_ends(monkeypatch):
    read = []
    monkeypatch.setattr(module, "_peak_memory", lambda: read.append(list(ledger.costs)) or 9)
    ledger = Ledger()
    with ledger.phase("select"), ledger.phase("score"):
        pass
    assert read == [["score", "select"]] and ledger.row()["peak_memory_bytes"] == 9


def test_memory_is_measured():
    ledger = Ledger()
    with ledger.phase("train"):
        pass
    assert ledger.row()["peak_memory_bytes"] > 10**6


def test_a_ledger_goes_on_from_its_row(clock, monkeypatch):
    monkeypatch.setattr(module, "_peak_memory", lambda: 11)
    ledger = Ledger()
    ledger.add("score", samples_forward=5, flops_forward=50, flops_draws=20)
    ledger.add("select", flops=3)
    with ledger.phase("score"):
        clock(2)
    resumed = Ledger(ledger.row())
    assert resumed.row() == ledger.row()
    resumed.add("score", samples_forward=5, flops_draws=20)
    resumed.add("select", flops=3)
    with resumed.phase("train"):
        clock(4)
    assert seconds(resumed) == {"score": 2, "train": 4}
    assert resumed.row()["samples_forward_score"] == 10
    assert [resumed.row()[f"flops_{what}"] for what in ("forward_score", "draws_score", "select")] == [50, 40, 6]
    assert ledger.row()["samples_forward_score"] == 5


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is measured on Linux alone")
def test_peak_is_that_of_the_phase_and_not_of_what_is_left_at_its_end(monkeypatch):
    monkeypatch.setattr(module, "_uses_gpu", lambda: False)
    ledger = Ledger()
    with ledger.phase("score"):
        block = bytearray(200 * 2**20)
        block[::4096] = b"x" * len(block[::4096])
        del block
    high = ledger.row()["peak_memory_bytes"]
    quiet = Ledger()
    with quiet.phase("score"):
        pass
    assert high - quiet.row()["peak_memory_bytes"] > 100 * 2**20


@pytest.mark.parametrize("on_gpu", [False, True])
def test_memory_is_that_of_the_gpu_only_if_the_process_has_used_one(on_gpu, monkeypatch):
    # Seeding starts CUDA on a machine with a GPU, also in a run on the CPU. After a training, no memory is in use.
    stats = {"allocated_bytes.all.allocated": 5 * on_gpu, "allocated_bytes.all.current": 0}
    for name, value in {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 2,
        "memory_stats": lambda device: stats if device == 1 else {},
        "reset_peak_memory_stats": lambda: None,
        "synchronize": lambda: None,
        "max_memory_allocated": lambda: 77,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(module, "read_energy", dict)
    ledger = Ledger()
    with ledger.phase("score"):
        pass
    peak = ledger.row()["peak_memory_bytes"]
    assert peak == 77 if on_gpu else peak > 2**20
