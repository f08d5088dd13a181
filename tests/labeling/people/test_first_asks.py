"""The first asks are those of the campaign, without PyTorch."""

import subprocess
import sys

import pytest
import torch

from dal.labeling.people.first_asks import first_asks, first_of_randperm
from dal.runtime.seeding import derive_seed, generator


@pytest.mark.parametrize("n", [0, 1, 2, 3, 100, 1797, 70_001])
def test_the_shuffle_is_that_of_torch(n):
    for seed in (0, 1, 2**31, 2**32 - 1, 2**32, derive_seed(3, "test")):
        expected = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
        assert first_of_randperm(n, n, seed) == expected
        assert first_of_randperm(n, 7, seed) == expected[:7]


@pytest.mark.parametrize("seed", [0, 5])
def test_the_lines_are_those_of_a_campaign(seed):
    ids = [f"{k}.jpg" for k in range(500)]
    candidate = torch.ones(500, dtype=torch.bool)
    candidate[3] = False
    expected = []
    for kind, size in (("test", 40), ("validation", 10), ("initial", 20)):
        pool = candidate.nonzero().flatten()
        chosen = pool[torch.randperm(len(pool), generator=generator(seed, kind))][:size].tolist()
        expected += [(kind, rank, index, ids[index]) for rank, index in enumerate(chosen)]
        candidate[chosen] = False
    lines = first_asks(ids, seed, test_size=40, validation_size=10, initial_size=20, excluded=[3])
    assert [(line.kind, line.rank, line.index, line.id) for line in lines] == expected
    assert [line.ask for line in lines] == list(range(70)) and {line.round for line in lines} == {0}


def test_what_the_page_needs_does_not_import_torch(tmp_path):
    script = tmp_path / "script.py"
    names = ("answers", "first_asks", "fold", "leases", "wanted")
    imports = "\n".join(f"import dal.labeling.people.{name}" for name in names)
    script.write_text(f"import sys\n{imports}\nassert not {{'torch', 'pandas', 'omegaconf'}} & sys.modules.keys()")

    assert subprocess.run([sys.executable, script], check=False).returncode == 0
