"""Tiles have one size, and a size that follows from the network, the images and the budget alone."""

import pytest
import torch
from torch import nn

from dal.scoring.tiles import PROBE_SIZE, cut, tile_size

MIB = 2**20


@pytest.mark.parametrize("size", [1, 4, 5, 100])
@pytest.mark.parametrize("batches", [[1] * 7, [7], [3, 4], [2, 1, 4], [12, 1], [4, 4], [5, 0, 3]])
def test_tiles_have_one_size_and_hold_all_rows_once_in_order(batches, size):
    rows = torch.arange(sum(batches)).view(-1, 1)
    tiles = list(cut(rows.split(batches), size))
    assert all(len(tile) == size for tile, _ in tiles)
    assert torch.equal(torch.cat([tile[:count] for tile, count in tiles]), rows)
    assert [count for _, count in tiles[:-1]] == [size] * (len(tiles) - 1)
    assert all(1 <= count <= size for _, count in tiles)
    # What fills the last tile up are real images, not zeros that a network may answer with NaN.
    last, count = tiles[-1]
    assert (last[count:] == last[0]).all()


def wide_pass(width):
    """A pass that holds ``width`` floats an image twice at its peak, beside the image."""
    return lambda x: x.flatten(1)[:, :1].expand(-1, width).contiguous().add(1).sum(dim=1)


FEW = torch.zeros(PROBE_SIZE, 1, 2, 2)


@pytest.mark.parametrize(
    ("width", "budget", "expected"),
    [
        (2**10, MIB, 64),  # 8 KiB and a little an image, so 128 are too many
        (2**10, 4 * MIB, 128),  # the largest on a CPU
        (2**18, 4 * MIB, 1),
        (2**18, 2**16, 1),
        (2**17, 256 * MIB, 32),  # the caches decide
        (2**22, 2**31, 8),  # but do not make it smaller than that
        (2**22, 2**27, 2),  # the budget does
        (1, None, 128),
    ],
)
def test_the_tile_is_the_largest_power_of_two_that_fits(width, budget, expected):
    assert tile_size(wide_pass(width), FEW, budget) == expected


def test_a_gpu_takes_larger_tiles_from_the_same_count():
    """On "meta" nothing is computed, and the bytes are counted all the same."""
    few = torch.zeros(PROBE_SIZE, 1, 2, 2, device="meta")
    assert tile_size(wide_pass(2**17), few) == 512
    assert tile_size(wide_pass(2**17), few, 2**28) == 128
    assert tile_size(wide_pass(1), few) == 2048


def test_what_is_made_once_does_not_count():
    kept = []

    def run(x):
        if not kept:
            kept.append(torch.zeros(2**22))
        return wide_pass(2**10)(x)

    assert tile_size(run, FEW, MIB) == 64


def test_weights_copied_in_every_pass_count_once_and_not_for_each_image():
    weight = torch.zeros(2**18)

    def run(x):
        copied = weight * 2
        return wide_pass(2**10)(x), copied

    # 1 MiB of copies and 64 images, or 128 images without the copies.
    assert tile_size(run, FEW, MIB + MIB // 2 + 2**16) == 64
    assert tile_size(wide_pass(2**10), FEW, MIB + MIB // 2 + 2**16) == 128


def test_more_draws_make_smaller_tiles():
    layer = nn.Linear(2**10, 4)

    def draws(count):
        return lambda x: layer(x.new_ones(len(x), count, 2**10) * 2)

    sizes = [tile_size(draws(count), FEW, 4 * MIB) for count in (1, 4, 16, 64)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] >= 8 * sizes[-1]


def test_a_probe_that_runs_out_of_memory_gives_the_smallest_tile():
    def run(x):
        raise torch.OutOfMemoryError

    assert tile_size(run, FEW) == 1

    def broken(x):
        raise KeyError

    with pytest.raises(KeyError):
        tile_size(broken, FEW)
