"""Several processes, each with a part of the pool, select what one process with all of it selects."""

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

from dal.acquisition import Shard

SCRIPT = Path(__file__).with_name("sharded_selection.py")


@pytest.fixture(scope="module")
def script():
    spec = spec_from_file_location("sharded_selection", SCRIPT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=[2, 3])
def ranks(request, tmp_path_factory):
    """What each of several gloo processes wrote."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    outputs = [folder / f"rank{rank}.pt" for rank in range(request.param)]
    commands = [
        [sys.executable, SCRIPT, str(rank), str(request.param), str(folder / "init"), str(out)]
        for rank, out in enumerate(outputs)
    ]
    processes = [subprocess.Popen(c, env=environment, stderr=subprocess.PIPE, text=True) for c in commands]
    for process in processes:
        errors = process.communicate(timeout=240)[1]
        assert process.returncode == 0, errors
    return [torch.load(out, weights_only=True) for out in outputs]


def test_selections_are_those_of_one_process(ranks, script):
    for case in script.CASES:
        expected = script.selections(case, False)
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
