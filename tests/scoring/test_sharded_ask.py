"""Several processes read a part of the pool each, and ask what one process asks."""

import json

import pytest
import torch
from helpers import processes, sharded_ask
from helpers.toys import toy_model

from dal.acquisition import registry
from dal.scoring.tiles import PROBE_SIZE
from dal.scoring.trial import TRIED_IMAGES

NUM_RANKS = 2


@pytest.fixture(scope="module")
def weights():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return toy_model().state_dict()


def test_processes_ask_what_one_asks_and_share_the_reading(weights, tmp_path):
    torch.save(weights, tmp_path / "weights.pt")
    # One of them is labeled, so that not every process has one to read.
    (tmp_path / "targets.txt").write_text("toy-003\ntoy-041")
    outputs = [tmp_path / f"rank{rank}.json" for rank in range(NUM_RANKS)]
    script, init, saved = sharded_ask.__file__, tmp_path / "init", tmp_path / "weights.pt"
    commands = [[script, rank, NUM_RANKS, init, saved, out] for rank, out in enumerate(outputs)]
    for done in processes.run_together(commands):
        assert done.returncode == 0, done.stderr
    ranks = [json.loads(out.read_text()) for out in outputs]

    expected, read_alone = sharded_ask.answers(weights, {})
    of_regions = sharded_ask.regions()
    functions = registry().values()
    num_passes = sum(cls.needs_pass + (cls.uses_labeled_points or cls.learns_from_labels) for cls in functions)
    for found in ranks:
        for setting in sharded_ask.SETTINGS:
            for name, (indices, scores) in expected.items():
                assert found[setting][0][name][0] == indices, (setting, name)
                assert found[setting][0][name][1] == pytest.approx(scores, rel=1e-9, abs=1e-12)
            # Shares are even but for one, and each pass tries the network with a few images first.
            assert found[setting][1] <= read_alone / NUM_RANKS + num_passes * (PROBE_SIZE + 1) + TRIED_IMAGES * len(
                functions
            )
        for name, (indices, scores) in of_regions.items():
            assert found["regions"][name][0] == indices and len(indices) > 2, name
            assert found["regions"][name][1] == pytest.approx(scores, rel=1e-9, abs=1e-12)
        indices, scores = sharded_ask.for_targets(weights, tmp_path / "targets.txt")
        assert indices != expected["epig"][0] and found["for targets"][0] == indices
        assert found["for targets"][1] == pytest.approx(scores, rel=1e-9, abs=1e-12)
        assert found["error"].startswith("model: expected finite logits and features, got NaN")
        assert "'toy-089' (index 89)" in found["error"]
    # Nothing is read twice but the few images that each pass of each process tries the network with.
    probes = (NUM_RANKS - 1) * (num_passes * PROBE_SIZE + TRIED_IMAGES * sum(cls().needs_dropout for cls in functions))
    assert sum(found["in memory"][1] for found in ranks) == read_alone + probes
