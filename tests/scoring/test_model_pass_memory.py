"""Tiles that are found by themselves, memory that runs out, and reading ahead in a real pass."""

import re
import threading
import warnings

import pytest
import pytorch_lightning as pl
import torch
from helpers.passes import pool_pass, summarize_points
from torch import nn

from dal.acquisition import BALD, Margin
from dal.data.images import TensorSource
from dal.errors import DalError, NonFiniteError
from dal.models.adapt import adapt, as_adapted
from dal.models.backbones import build_backbone
from dal.models.classifier import Classifier
from dal.scoring.config import ScoringConfig


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return as_adapted(Classifier(build_backbone("small_cnn", (1, 8, 8)), 3))


@pytest.fixture(scope="module")
def data(shared):
    return shared.make_images(150)


def equal(ours, theirs):
    return len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


class Watched(BALD):
    """BALD that writes down the sizes of its batches."""

    def summarize(self, model, x):
        sizes.append(len(x))
        return super().summarize(model, x)


sizes = []


@pytest.fixture(autouse=True)
def fresh_sizes():
    sizes.clear()


def tile_of(config, model, data, indices, acquisition=None):
    sizes.clear()
    summarize_points(model, acquisition or Watched(4), data, indices, config=config)
    return sizes[-1]


def test_the_tile_depends_on_network_images_and_budget_and_not_on_the_pool(model, data, shared):
    everything = torch.arange(150)
    tile = tile_of(ScoringConfig(), model, data, everything)
    for indices in (everything, torch.arange(1), torch.tensor([5, 3]), everything.flip(0)):
        assert tile_of(ScoringConfig(batch_size=7), model, data, indices) == tile
    small = ScoringConfig(memory_budget="256KiB")
    assert tile_of(small, model, data, everything) == tile_of(small, model, data, torch.arange(2)) < tile
    assert tile_of(small, model, data, everything, Watched(16)) < tile_of(small, model, data, everything)
    assert tile_of(ScoringConfig(tile_size=77), model, data, everything) == 77
    assert tile_of(ScoringConfig(tile_size=77, memory_budget="1kB"), model, data, everything) == 77


@pytest.mark.parametrize("budget", ["1", "1KiB"])
def test_a_budget_below_one_image_gives_tiles_of_one_image_and_says_so(model, data, budget):
    expected = r"^scoring\.memory_budget: expected at least [\d,]{5,} bytes for tiles of one image, got \d+ for a tile"
    with pytest.warns(UserWarning, match=expected) as caught:
        assert tile_of(ScoringConfig(memory_budget=budget), model, data, torch.arange(9)) == 1
    enough = re.search(r"at least ([\d,]+) bytes", str(caught[0].message))[1].replace(",", "")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tile_of(ScoringConfig(memory_budget=enough), model, data, torch.arange(9)) == 1


def test_results_with_a_tile_found_by_itself_are_those_of_that_tile(model, data):
    indices = torch.arange(150)
    config = ScoringConfig(memory_budget="512KiB")
    tile = tile_of(config, model, data, indices)
    found = summarize_points(model, BALD(4), data, indices, config=config)
    assert equal(found, summarize_points(model, BALD(4), data, indices, config=ScoringConfig(tile_size=tile)))


ERRORS = {
    "gpu": torch.OutOfMemoryError("CUDA out of memory."),
    "cpu": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes."),
    "python": MemoryError(),
}


class Hungry(Margin):
    """Runs out of memory for more images than fit, in the middle of the pass."""

    def summarize(self, model, x):
        sizes.append(len(x))
        if len(x) > self.fits and len(sizes) > 1:
            raise self.error
        return super().summarize(model, x)


def hungry(fits, error):
    acquisition = Hungry()
    object.__setattr__(acquisition, "fits", fits)
    object.__setattr__(acquisition, "error", error)
    return acquisition


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_pass_starts_again_with_half_the_tile(model, data, error, num_workers):
    indices, seen = torch.arange(150), []
    config = ScoringConfig(tile_size=48, num_workers=num_workers)
    # The FLOPs of an image are counted once for each network.
    summarize_points(model, hungry(150, error), data, indices[:1], config=config)
    sizes.clear()
    with pytest.warns(UserWarning, match=r"^scoring: out of memory; the pass restarts with .*tile_size=\d+\.$") as said:
        found = summarize_points(
            model, hungry(15, error), data, indices, config=config, on_progress=lambda *event: seen.append(event)
        )
    ours = [str(w.message) for w in said if str(w.message).startswith("scoring:")]  # Python 3.12 warns of fork() too
    assert [text.split("=")[-1] for text in ours] == ["24.", "12."]
    assert sizes == [48, 48, 24, *[12] * 13]
    assert equal(found, summarize_points(model, Margin(), data, indices, config=ScoringConfig(tile_size=12)))
    assert [done for _, done, _ in seen] == [48, *range(12, 150, 12), 150]


def test_a_pass_that_no_tile_fits_is_one_sentence(model, data):
    with (
        warnings.catch_warnings(),
        pytest.raises(DalError, match=r"^scoring: out of memory for a tile of one image; use fewer"),
    ):
        warnings.simplefilter("ignore")
        summarize_points(model, hungry(0, MemoryError()), data, torch.arange(9), config=ScoringConfig(tile_size=4))
    assert sizes == [4, 4, 2, 1]


def test_the_next_pass_tries_the_whole_tile_again(model, data):
    for _ in range(2):
        sizes.clear()
        with pytest.warns(UserWarning, match="tile_size=20"):
            summarize_points(
                model, hungry(30, MemoryError()), data, torch.arange(90), config=ScoringConfig(tile_size=40)
            )
        assert sizes == [40, 40, *[20] * 5]


def test_another_error_is_not_taken_for_a_lack_of_memory(model, data):
    with pytest.raises(RuntimeError, match="shapes"):
        summarize_points(model, hungry(3, RuntimeError("shapes")), data, torch.arange(90), config=ScoringConfig())


def test_tensors_of_a_tile_that_did_not_fit_are_gone_before_the_next_attempt(model, data, monkeypatch):
    """Or the second attempt would have less memory than the first."""
    alive, counted = [], []

    class Big(torch.Tensor):
        pass

    def reduce(view, x):
        if len(x) > 8:
            big = x.clone().as_subclass(Big)
            alive.append(__import__("weakref").ref(big))
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return (x.flatten(1),)

    monkeypatch.setattr(
        "dal.scoring.model_pass.release_cached", lambda: counted.append([ref() is None for ref in alive])
    )
    with pytest.warns(UserWarning, match="out of memory"):
        pool_pass(model, data, torch.arange(20), reduce, config=ScoringConfig(tile_size=32))
    assert counted == [[True], [True, True]]


class OnDisk:
    """A source that is not a tensor, which is read ahead; image 20 may be broken."""

    def __init__(self, images, error=None):
        self.source, self.error, self.threads = TensorSource(images), error, set()

    def __len__(self):
        return len(self.source)

    def batch(self, indices):
        self.threads.add(threading.current_thread())
        if self.error is not None and 20 in indices:
            raise self.error
        return self.source.batch(indices)


@pytest.mark.parametrize("batch_size", [1, 30, 512])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_reading_ahead_changes_no_result(model, data, shared, batch_size, num_workers):
    source = OnDisk(data.source.images)
    ahead = shared.make_images(150, source=source)
    config = ScoringConfig(tile_size=16, batch_size=batch_size, num_workers=num_workers)
    indices = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    found = summarize_points(model, BALD(4), ahead, indices, config=config)
    assert equal(found, summarize_points(model, BALD(4), data, indices, config=config))
    assert any(thread is not threading.main_thread() for thread in source.threads) == (num_workers == 0)


class Damaged(Exception):
    pass


@pytest.mark.parametrize("where", ["reading", "computing"])
def test_no_thread_stays_when_a_pass_fails(model, data, shared, where):
    source = OnDisk(data.source.images, Damaged() if where == "reading" else None)
    acquisition = Margin() if where == "reading" else hungry(1, KeyboardInterrupt())
    # Not their number, as threads of other tests may end meanwhile.
    before = set(threading.enumerate())
    with pytest.raises(Damaged if where == "reading" else KeyboardInterrupt):
        summarize_points(
            model,
            acquisition,
            shared.make_images(150, source=source),
            torch.arange(150),
            config=ScoringConfig(tile_size=4, batch_size=4),
        )
    assert set(threading.enumerate()) <= before


def test_a_lack_of_memory_while_reading_halves_the_tile_too(model, data, shared):
    class Small(OnDisk):
        def batch(self, indices):
            if len(indices) > 10:
                raise MemoryError
            return super().batch(indices)

    with pytest.warns(UserWarning, match="tile_size=8"):
        found = summarize_points(
            model,
            Margin(),
            shared.make_images(150, source=Small(data.source.images)),
            torch.arange(150),
            config=ScoringConfig(tile_size=16, batch_size=1),
        )
    expected = summarize_points(model, Margin(), data, torch.arange(150), config=ScoringConfig(tile_size=8))
    assert equal(found, expected)


class NaNs(Margin):
    def score(self, model, x):
        if self.at_once or len(x) > 2:
            raise NonFiniteError("rows", 1)
        return super().score(model, x)


@pytest.mark.parametrize("at_once", [True, False])
def test_an_image_is_named_whether_the_probe_or_a_tile_meets_it(model, data, at_once):
    acquisition = NaNs()
    object.__setattr__(acquisition, "at_once", at_once)
    with pytest.raises(NonFiniteError, match=r"for 'image-033' \(index 33\)"):
        summarize_points(model, acquisition, data, torch.tensor([34, 33, 32]))


class Squeezes(pl.LightningModule):
    """A forward() that takes a batch of one image for an image."""

    def __init__(self):
        super().__init__()
        self.conv, self.drop, self.head = nn.Conv2d(1, 4, 3), nn.Dropout(0.5), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.drop(nn.functional.adaptive_avg_pool2d(self.conv(x), 1).squeeze()))


@pytest.mark.parametrize("acquisition", [Margin(), BALD(4)])
@pytest.mark.parametrize("count", [1, 30])
def test_a_network_that_cannot_take_one_image_alone_is_scored(data, acquisition, count):
    (scores,) = summarize_points(adapt(Squeezes(), "head"), acquisition, data, torch.arange(count))
    assert scores.shape == (count,)
