"""Several processes read a part of the pool each, and ask what one process asks."""

import json
import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

from dal.acquisition import registry
from dal.scoring.tiles import PROBE_SIZE

SCRIPT = Path(__file__).with_name("sharded_ask.py")


@pytest.fixture(scope="module")
def script():
    spec = spec_from_file_location("sharded_ask", SCRIPT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def weights(script):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return script.toys().toy_model().state_dict()


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_processes_ask_what_one_asks_and_share_the_reading(num_ranks, script, weights, tmp_path):
    torch.save(weights, tmp_path / "weights.pt")
    # One of them is labeled, so that not every process has one to read.
    (tmp_path / "targets.txt").write_text("toy-080\ntoy-003\ntoy-041")
    outputs = [tmp_path / f"rank{rank}.json" for rank in range(num_ranks)]
    processes = [
        subprocess.Popen(
            [sys.executable, SCRIPT, str(rank), str(num_ranks), tmp_path / "init", tmp_path / "weights.pt", out],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outputs)
    ]
    for process in processes:
        errors = process.communicate(timeout=240)[1]
        assert process.returncode == 0, errors
    ranks = [json.loads(out.read_text()) for out in outputs]

    expected, read_alone = script.answers(weights, {})
    functions = registry().values()
    num_passes = sum(cls.needs_pass + (cls.uses_labeled_points or cls.learns_from_labels) for cls in functions)
    for found in ranks:
        for setting in script.SETTINGS:
            for name, (indices, scores) in expected.items():
                assert found[setting][0][name][0] == indices, (setting, name)
                assert found[setting][0][name][1] == pytest.approx(scores, rel=1e-9, abs=1e-12)
            # Shares are even but for one, and each pass tries the network with a few images first.
            assert found[setting][1] <= read_alone / num_ranks + num_passes * (PROBE_SIZE + 1)
        indices, scores = script.for_targets(weights, tmp_path / "targets.txt")
        assert indices != expected["epig"][0] and found["for targets"][0] == indices
        assert found["for targets"][1] == pytest.approx(scores, rel=1e-9, abs=1e-12)
        assert found["error"].startswith("model: expected finite logits and features, got NaN")
        assert "'toy-089' (index 89)" in found["error"]
    # Nothing is read twice but the few images that each pass of each process tries the network with.
    probes = (num_ranks - 1) * num_passes * PROBE_SIZE
    assert sum(found["in memory"][1] for found in ranks) == read_alone + probes
