import random

import numpy as np
import pytest
import torch

from dal.runtime import seeding
from dal.runtime.seeding import derive_seed, generator, isolated_rng


def draws():
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def test_every_part_of_the_key_counts():
    keys = [(0,), (1,), (0, 1), (0, 1, "init"), (0, "1init"), (0, 1, 1), (0, 11), (0, "init", 1)]
    assert len({derive_seed(*key) for key in keys}) == len(keys)


def test_a_seed_is_the_same_on_every_machine():
    assert derive_seed(0, 1, "init") == 661299613734403178
    assert all(0 <= derive_seed(0, i) < 2**63 for i in range(100))


def test_a_generator_leaves_the_global_one_alone(shared):
    before = shared.rng_states()
    first, second = (torch.rand(3, generator=generator(0, 1, "x")) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.rand(3, generator=generator(0, 2, "x")))
    assert shared.rng_states() == before


@pytest.mark.parametrize("fails", [False, True])
def test_isolated_rng_seeds_inside_and_restores(shared, fails):
    before = shared.rng_states()
    inside = []
    for _ in range(2):
        try:
            with isolated_rng(3, "train"):
                inside.append(draws())
                with isolated_rng(4, "other"):
                    other = draws()
                inside.append(draws())
                if fails:
                    raise KeyError
        except KeyError:
            pass
        assert shared.rng_states() == before
        draws()
        before = shared.rng_states()
    assert inside[:2] == inside[2:]
    assert len({*inside, other}) == 3


def test_seeding_without_a_gpu_equals_manual_seed_and_stores_no_call_for_cuda(monkeypatch):
    monkeypatch.setattr(seeding, "has_accelerator", lambda: False)
    torch.manual_seed(7)
    expected, stored = torch.rand(3), len(torch.cuda._queued_calls)
    with isolated_rng(0):
        seeding.seed_generators(7)
        assert torch.equal(torch.rand(3), expected)
    assert len(torch.cuda._queued_calls) == stored
