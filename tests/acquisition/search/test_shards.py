"""Several processes, each with a part of the pool, select what one process with all of it selects."""

import pytest
import torch
import torch.distributed as dist
from helpers import processes, sharded_selection

from dal.acquisition import Shard


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two gloo processes wrote."""
    folder = tmp_path_factory.mktemp("ranks")
    outputs = [folder / f"rank{rank}.pt" for rank in range(2)]
    script, init = sharded_selection.__file__, folder / "init"
    commands = [[script, rank, 2, init, out] for rank, out in enumerate(outputs)]
    for done in processes.run_together(commands):
        assert done.returncode == 0, done.stderr
    return [torch.load(out, weights_only=True) for out in outputs]


def test_selections_are_those_of_one_process(ranks):
    for case in sharded_selection.CASES:
        expected = sharded_selection.selections(case, False)
        for found in ranks:
            for name, (positions, scores) in expected.items():
                assert torch.equal(found[case][name][0], positions), (case, name)
                torch.testing.assert_close(found[case][name][1], scores, rtol=1e-12, atol=1e-12)


def test_parts_on_disk_make_no_difference(ranks):
    for found in ranks:
        for name, (positions, _) in found["many picks"].items():
            assert torch.equal(found["on disk"][name][0], positions), name


def test_parts_differ_by_one_point_at_most_and_none_is_held_twice(ranks):
    spans = [found["span"] for found in ranks]
    held = [i for offset, size in spans for i in range(offset, offset + size)]
    assert held == list(range(41))
    assert max(size for _, size in spans) - min(size for _, size in spans) <= 1


@pytest.mark.parametrize("num_ranks", [3, 5, 50])
def test_parts_of_any_number_of_processes_hold_each_point_once(num_ranks, monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: num_ranks)
    parts = []
    for rank in range(num_ranks):
        monkeypatch.setattr(dist, "get_rank", lambda rank=rank: rank)
        parts.append(Shard.shared(41))
    held = [i for part in parts for i in range(41)[part.span]]
    assert held == list(range(41))
    assert max(part.size for part in parts) - min(part.size for part in parts) == 1


def test_an_error_of_one_process_is_every_process_s(ranks):
    assert {found["error"] for found in ranks} == {"features: expected finite numbers, got nan at row 9 of 10."}


def test_errors_of_any_kind_reach_all(ranks):
    assert [found["other error"] for found in ranks] == [
        "own: no such disk",
        *["other: another process: no such disk"] * (len(ranks) - 1),
    ]


def test_a_process_of_its_own_holds_everything():
    shard = Shard.shared(7, memory_budget=5)
    assert shard == Shard.alone(7, memory_budget=5)
    assert shard.best(2.0, 3) == (2.0, 3)
    part = torch.zeros(7, 2)
    assert shard.gather({"features": part})["features"] is part


@pytest.mark.parametrize(("backend", "device"), [("nccl", "cuda:1"), ("gloo", "cpu"), ("cpu:gloo,cuda:nccl", "cpu")])
def test_processes_exchange_tensors_on_the_device_of_their_backend(backend, device, monkeypatch):
    monkeypatch.setattr(dist, "get_backend", lambda: backend)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert Shard.alone(3)._device() == torch.device(device)
