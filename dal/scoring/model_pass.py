"""The one pass of a model over points: batches are loaded, cut into tiles, reduced on the device, and put in order."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from dal.acquisition.base import AcquisitionFunction, Summary
from dal.costs.flops import FlopCounter, Flops
from dal.costs.ledger import Ledger
from dal.data.images import ImageData, ImageSource, SubsetSource, TensorSource
from dal.data.loaders import plain_batches
from dal.errors import DalError, NonFiniteError, bad_value
from dal.models.adapt import AdaptedModel, ScoringModel, scoring_view
from dal.models.compiled import CompiledPasses
from dal.models.memory_format import channels_last, channels_last_weights, takes_channels_last
from dal.runtime.byte_size import parse_bytes
from dal.runtime.memory import out_of_memory, release_cached
from dal.runtime.precision import AUTOCAST, forward_precision
from dal.runtime.progress import OnProgress, silent
from dal.runtime.seeding import isolated_rng
from dal.scoring.prefetch import prefetched, to_device
from dal.scoring.row_buffer import RowBuffer
from dal.scoring.row_store import Kept, RowStore
from dal.scoring.tiles import PROBE_SIZE, cut, tile_size

MOST_IMAGES = 2**16
"""No tile is larger."""


@dataclass
class ScoringConfig:
    """How the pool is read. batch_size and num_workers change no result, the rest changes it by rounding alone."""

    batch_size: int = 512  # images a loader reads at a time, rounded to whole tiles
    num_workers: int = 0
    tile_size: int | None = None  # images a forward pass; null: found from the network and the budget, once a pass
    memory_budget: str | None = None  # such as 2GiB: a tile takes a quarter, what is kept half; null: 1 GiB a tile
    disk_folder: str | None = None  # of what memory has no room for; null: the temporary one, which may be memory
    precision: str = "32"  # of the forward passes: 32, tf32 (CUDA), or autocast to bf16 or 16
    channels_last: bool | None = None  # layout of images; null: on CPUs and in tf32, bf16 or 16, where the network can
    embeddings: str | None = (
        None  # a .npy (N, D): in place of the network's features where points are told apart by them
    )
    target_inputs: str | None = None  # a file of ids of the training set: inputs that epig goes by; null: the pool's
    compile: bool = False  # torch.compile, once a pass: some seconds that only large pools give back

    def __post_init__(self) -> None:
        if self.tile_size is not None and self.tile_size > MOST_IMAGES:
            # The last tile is filled up, so that a far too large one would not stop at the pool.
            raise bad_value("scoring.tile_size", f"at most {MOST_IMAGES}", self.tile_size)
        for name in ("batch_size", "tile_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise bad_value(f"scoring.{name}", "at least 1", getattr(self, name))
        if self.num_workers < 0:
            raise bad_value("scoring.num_workers", "at least 0", self.num_workers)
        if self.precision not in AUTOCAST:
            raise bad_value("scoring.precision", f"one of {', '.join(AUTOCAST)}", self.precision)
        _ = self.bytes_allowed
        if self.disk_folder is not None and not (
            Path(self.disk_folder).is_dir() and os.access(self.disk_folder, os.W_OK)
        ):
            raise bad_value("scoring.disk_folder", "a folder that exists and can be written to", self.disk_folder)

    @property
    def bytes_allowed(self) -> int | None:
        """The budget, where there is one."""
        return None if self.memory_budget is None else parse_bytes("scoring.memory_budget", self.memory_budget)

    @property
    def tile_bytes(self) -> int | None:
        """What a tile may take of the budget, where there is one."""
        return None if self.bytes_allowed is None else self.bytes_allowed // 4


Reduce = Callable[[ScoringModel, Tensor], Summary]


NewStore = Callable[[int, torch.device], RowStore]
"""From the number of rows and the device that they come from to where they are kept."""


@dataclass(frozen=True)
class Charge:
    """To whom a pass is charged, in its phase: samples_forward, flops_forward and, of MC dropout, flops_draws.

    FLOPs are those of an image times the images that count, so that neither tiles nor loaders nor processes change
    them. Those of an image are counted once for each network, shape of images and ``what``, which names what the
    network is asked for; with None, each time. flops_backward is there only where gradients were taken.
    """

    ledger: Ledger
    what: Hashable | None
    num_images: int | None = None  # of all processes; None: those that this one reads


def pool_pass(
    model: AdaptedModel,
    data: ImageData,
    indices: Tensor,
    reduce: Reduce,
    *,
    seed: int = 0,
    config: ScoringConfig | None = None,
    device: torch.device | None = None,
    on_progress: OnProgress = silent,
    phase: str = "score",
    new_store: NewStore = lambda num_rows, device: RowStore(num_rows),
    charge: Charge | None = None,
) -> Kept:
    """Run ``reduce`` over the plain view of the points, and return its rows in the order of ``indices``, as tensors on
    the CPU unless ``new_store`` keeps them elsewhere.

    Every tile has the same number of images (the last is filled up), so that a point's row does not depend on the
    loader's batch size, nor on how many points there are.

    Where memory runs out, a warning says so and the pass starts again with tiles of half the size.

    Raises NonFiniteError, naming the image, where a value is NaN or infinite; DalError where not even one image fits
    into memory, and where the network takes channels_last=True or compile=True badly.
    """
    config = config or ScoringConfig()
    if not len(indices):
        return ()
    with scoring_view(model, seed, device) as view:
        target = next(iter(model.module.parameters())).device
        places = torch.arange(PROBE_SIZE).clamp(max=len(indices) - 1)
        few = data.plain(indices[places].tolist()).to(target)
        with _layout(view, few, config) as layout, forward_precision(config.precision, target):
            try:
                size = config.tile_size or tile_size(lambda x: reduce(view, x), layout(few), config.tile_bytes)
                flops = Flops() if charge is None else _flops_of(view, reduce, layout(few), charge.what, seed)
            except NonFiniteError as error:
                raise _not_finite(data, indices, int(places[error.row or 0])) from error
            one = _OnePass(view, data, indices, reduce, config, target, layout, on_progress, phase, new_store)
            while True:
                try:
                    kept = one.run(size)
                    break
                except NonFiniteError as error:
                    raise _not_finite(data, indices, error.row or 0) from error
                except Exception as error:
                    if not out_of_memory(error):
                        raise
                    if size == 1:
                        raise DalError(
                            "scoring: expected memory for a tile of one image, got none left; take fewer draws, a "
                            "smaller network, scoring.precision=bf16, or another device (trainer.accelerator=cpu)."
                        ) from error
                # Here and not in the except block, as the traceback holds the tensors of the tile.
                release_cached()
                size //= 2
                warnings.warn(
                    f"scoring: out of memory; the pass starts again with scoring.tile_size={size}.", stacklevel=2
                )
    if charge is not None:
        count = len(indices) if charge.num_images is None else charge.num_images
        counts = {"samples_forward": count, "flops_forward": flops.forward * count // PROBE_SIZE}
        if flops.backward:
            counts["flops_backward"] = flops.backward * count // PROBE_SIZE
        if flops.apart:
            counts["flops_draws"] = flops.apart * count // PROBE_SIZE
        charge.ledger.add(phase, **counts)
    return kept


_counted: WeakKeyDictionary[nn.Module, dict[Hashable, Flops]] = WeakKeyDictionary()


def _flops_of(view: ScoringModel, reduce: Reduce, few: Tensor, what: Hashable | None, seed: int) -> Flops:
    """The FLOPs of PROBE_SIZE images; 0 where not even so few fit into memory."""
    known: dict[Hashable, Flops] = {} if what is None else _counted.setdefault(view.module, {})
    key = (what, few.shape)
    if key not in known:
        try:
            with isolated_rng(seed, "flops"):
                reduce(view, few)  # what is done once, such as the trial of the draws, is no part of an image
                with FlopCounter(apart=lambda: view.is_wide) as counter:
                    reduce(view, few)
        except Exception as error:
            if not out_of_memory(error):
                raise
            return Flops()
        known[key] = counter.flops
    return known[key]


@dataclass(frozen=True)
class _OnePass:
    """All that a pass needs but the size of its tiles."""

    view: ScoringModel
    data: ImageData
    indices: Tensor
    reduce: Reduce
    config: ScoringConfig
    device: torch.device
    layout: Callable[[Tensor], Tensor]
    on_progress: OnProgress
    phase: str
    new_store: NewStore

    def run(self, size: int) -> Kept:
        self.view.compiled = CompiledPasses(size) if self.config.compile else None
        rows, done = RowBuffer(self.new_store(len(self.indices), self.device)), 0
        whole_tiles = max(1, self.config.batch_size // size) * size
        loader = plain_batches(self.data, self.indices, whole_tiles, self.config.num_workers)
        # The iterator is made here, as it draws from the global generator and may start processes.
        tiles = to_device(cut(iter(loader), size), self.device)
        with prefetched(tiles) if self._reads_ahead() else nullcontext(tiles) as source:
            for tile in source:
                try:
                    reduced = self.reduce(self.view, self.layout(tile.arrived()))
                except NonFiniteError as error:
                    raise NonFiniteError(str(error), done + (error.row or 0)) from error
                rows.append(tuple(part[: tile.valid] for part in reduced))
                done += tile.valid
                self.on_progress(self.phase, done, len(self.indices))
        return rows.finish()

    def _reads_ahead(self) -> bool:
        """Pixels in memory are read in less time than a thread costs, and workers read ahead by themselves."""
        return self.device.type != "cpu" or (self.config.num_workers == 0 and not _in_memory(self.data.source))


@contextmanager
def _layout(view: ScoringModel, few: Tensor, config: ScoringConfig) -> Iterator[Callable[[Tensor], Tensor]]:
    """What to do with images before a pass; inside, the weights have the layout that goes with it."""
    wanted = config.channels_last
    if wanted is None:
        wanted = few.device.type == "cpu" or (few.device.type == "cuda" and config.precision != "32")
    if wanted and few.ndim == 4 and takes_channels_last(view.module, view.logits, few):
        with channels_last_weights(view.module):
            yield channels_last
    elif config.channels_last and few.ndim == 4:
        raise DalError(
            "scoring.channels_last: expected a network that takes images in this layout, got an error or other numbers "
            "(x.view(...) in forward() may be why, and x.reshape(...) the cure); set scoring.channels_last=false."
        )
    else:
        yield lambda x: x


def _in_memory(source: ImageSource) -> bool:
    while isinstance(source, SubsetSource):
        source = source.source
    return isinstance(source, TensorSource)


def summarize_points(
    model: AdaptedModel,
    acquisition: AcquisitionFunction,
    data: ImageData,
    indices: Tensor,
    *,
    seed: int = 0,
    config: ScoringConfig | None = None,
    device: torch.device | None = None,
    on_progress: OnProgress = silent,
    ledger: Ledger | None = None,
    num_images: int | None = None,
) -> Kept:
    """What the acquisition function keeps of these points: in memory, on a GPU with room for it, or, where the memory
    budget has none, on disk. One that needs no pass gets empty rows at no cost.

    The pass is charged to the phase ``score`` of ``ledger``, for ``num_images`` images, which are those of all
    processes, or, with None, those read here."""
    config = config or ScoringConfig()
    # What a function knows of labeled points may change what it asks for, and need not show in its repr.
    what = None if acquisition.needs_labels else (type(acquisition), repr(acquisition))
    if not acquisition.needs_pass or not len(indices):
        return (torch.empty(len(indices), 0),)
    return pool_pass(
        model,
        data,
        indices,
        acquisition.summarize,
        seed=seed,
        config=config,
        device=device,
        on_progress=on_progress,
        new_store=lambda num_rows, made_on: RowStore(num_rows, config.bytes_allowed, made_on, config.disk_folder),
        charge=None if ledger is None else Charge(ledger, what, num_images),
    )


def _not_finite(data: ImageData, indices: Tensor, place: int) -> NonFiniteError:
    index = int(indices[place])
    return NonFiniteError(
        f"model: expected finite logits and features, got NaN or infinity for {data.ids[index]!r} (index {index})."
    )
