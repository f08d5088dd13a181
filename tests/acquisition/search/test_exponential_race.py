"""Uniform numbers that depend on (seed, position) alone, and the exponentials made of them."""

import math

import pytest
import torch
from scipy.stats import kstest

from dal.acquisition.search.exponential_race import draw_seed, exponentials, uniforms


def split_mix(seed, count):
    """SplitMix64 by its definition, on Python's whole numbers."""
    found, state = [], seed % 2**64
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        z ^= z >> 31
        found.append(((z >> 12) + 0.5) / 2**52)
    return found


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, -(2**63), 123456789])
def test_numbers_are_those_of_split_mix(seed):
    assert uniforms(seed, 0, 50).tolist() == split_mix(seed, 50)


def test_published_numbers():
    # The first output for seed 1234567, from the sources of the algorithm's authors' test vectors.
    assert uniforms(1234567, 0, 1).item() == ((6457827717110365317 >> 12) + 0.5) / 2**52


@pytest.mark.parametrize(("start", "count"), [(0, 200_000), (1, 10), (65_535, 3), (70_000, 0), (65_536, 65_536)])
def test_a_part_is_a_part_of_the_whole(start, count):
    assert torch.equal(uniforms(7, start, count), uniforms(7, 0, 200_000)[start : start + count])


def test_numbers_are_uniform_and_never_at_the_ends():
    u = uniforms(3, 0, 100_000)
    assert u.dtype == torch.float64 and float(u.min()) > 0 and float(u.max()) < 1
    assert kstest(u.numpy(), "uniform").pvalue > 1e-4
    assert abs(float(torch.corrcoef(torch.stack([u[:-1], u[1:]]))[0, 1])) < 0.02
    assert abs(float(torch.corrcoef(torch.stack([u, uniforms(4, 0, 100_000)]))[0, 1])) < 0.02


def test_exponentials_are_never_below_their_uniforms():
    u = torch.cat([uniforms(5, 0, 1000), torch.tensor([2.0**-53, 1 - 2.0**-53], dtype=torch.float64)])
    times = exponentials(u)
    assert times.tolist() == [-math.log1p(-x) for x in u.tolist()]
    assert bool((times >= u).all()) and bool(torch.isfinite(times).all())


def test_seeds_come_one_number_a_draw():
    generator = torch.Generator().manual_seed(0)
    seeds = [draw_seed(generator) for _ in range(100)]
    assert len(set(seeds)) == 100 and min(seeds) < 0 < max(seeds)
    again = torch.Generator().manual_seed(0)
    assert [draw_seed(again) for _ in range(100)] == seeds
