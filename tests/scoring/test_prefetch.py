"""Reading ahead keeps order, brings errors out where the items are taken, and leaves no thread behind."""

import threading
import weakref
from contextlib import nullcontext

import pytest
import torch
from helpers.pretended_gpu import pretended_gpu

from dal.scoring.prefetch import prefetched, to_device


@pytest.fixture(autouse=True)
def no_thread_stays():
    # Not their number, as threads of other tests may end meanwhile.
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
@pytest.mark.parametrize("depth", [1, 2])
def test_all_items_come_in_order(count, depth):
    with prefetched(range(count), depth) as ahead:
        assert list(ahead) == list(range(count))


def test_items_are_made_in_another_thread_and_at_most_depth_ahead():
    made, threads = [], set()
    enough = threading.Semaphore(0)

    def items():
        for i in range(20):
            made.append(i)
            threads.add(threading.get_ident())
            enough.release()
            yield i

    with prefetched(items(), depth=2) as ahead:
        # Two wait in the queue and one waits for room; nothing was taken yet.
        for _ in range(3):
            assert enough.acquire(timeout=60)
        assert not enough.acquire(timeout=0.3)
        assert next(ahead) == 0
        assert enough.acquire(timeout=60)
        assert not enough.acquire(timeout=0.3)
        assert made == [0, 1, 2, 3]
    assert threading.get_ident() not in threads


class Broken(Exception):
    pass


@pytest.mark.parametrize("at", [0, 1, 5])
def test_an_error_comes_out_after_the_items_before_it(at):
    def items():
        yield from range(at)
        raise Broken("file 7")

    taken = []
    with pytest.raises(Broken, match="file 7"), prefetched(items()) as ahead:
        for item in ahead:
            taken.append(item)  # noqa: PERF402  extend() might drop what came before the error
    assert taken == list(range(at))


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("after", [0, 3])
def test_leaving_early_ends_the_thread_and_its_items(error, after):
    made = []

    def items():
        for i in range(10**9):
            made.append(i)
            yield i

    with pytest.raises(error), prefetched(items()) as ahead:
        for _ in range(after):
            next(ahead)
        raise error
    assert len(made) <= after + 4


def test_an_item_is_not_kept_after_it_was_taken():
    with prefetched(torch.zeros(3) + i for i in range(3)) as ahead:
        first = next(ahead)
        gone = weakref.ref(first)
        second = next(ahead)
        del first
        assert gone() is None and second[0] == 1
        list(ahead)


def test_tiles_on_the_cpu_are_those_that_came():
    tiles = [(torch.full((2, 1), float(i)), 2 - i) for i in range(2)]
    for tile, (images, count) in zip(to_device(tiles, torch.device("cpu")), tiles, strict=True):
        assert tile.arrived() is images and tile.valid == count


@pytest.mark.parametrize("is_pretended", [True, False])
def test_tiles_arrive_on_a_gpu_whole(is_pretended, monkeypatch):
    if not (is_pretended or torch.cuda.is_available()):
        pytest.skip("needs a GPU")
    with pretended_gpu(monkeypatch) if is_pretended else nullcontext():
        assert sums_of_tiles(torch.device("cuda")) == [2.0 * i for i in range(20)]


def sums_of_tiles(device):
    tiles = [(torch.full((64, 3, 64, 64), float(i)), 64) for i in range(20)]
    sums = []
    with prefetched(to_device(tiles, device)) as ahead:
        for tile in ahead:
            x = tile.arrived()
            assert x.device.type == "cuda"
            sums.append((x * 2).mean())
    return torch.stack(sums).tolist()
