"""One pass of a model over points.

The pass loads batches, cuts them into tiles, reduces each tile on the device and returns the rows in order.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dal.acquisition.base import Summary
from dal.acquisition.search.rows import Rows, all_rows
from dal.costs.flops import Flops
from dal.costs.ledger import Ledger
from dal.data.image_sources import is_in_memory
from dal.data.images import ImageData
from dal.data.loaders import plain_batches
from dal.errors import DalError, NonFiniteError, bad_value
from dal.models.adapt import AdaptedModel
from dal.models.adapted.scoring_model import ScoringModel, scoring_view
from dal.models.compiled import CompiledPasses
from dal.models.memory_format import channels_last, channels_last_weights
from dal.runtime.memory import out_of_memory, release_cached
from dal.runtime.precision import forward_precision
from dal.runtime.progress import OnProgress, silent
from dal.scoring.config import ScoringConfig
from dal.scoring.dense.pooling import Pooling
from dal.scoring.in_flight import InFlight
from dal.scoring.observer import Following, Observer
from dal.scoring.prefetch import prefetched, to_device
from dal.scoring.remembered import flops_of, size_of_tiles, suits_channels_last
from dal.scoring.row_buffer import RowBuffer
from dal.scoring.row_store import Kept, RowStore
from dal.scoring.tiles import PROBE_SIZE, cut

_LOADED_BYTES = 2**24
"""Bytes of the float32 images that are loaded at once, unless a tile or scoring.batch_size is larger."""

Reduce = Callable[[ScoringModel, Tensor], Summary]
"""Maps the model and a batch of B images to named tensors of B rows, which the pass returns."""

NewStore = Callable[[int, torch.device], RowStore]
"""Makes the store for a number of rows that come from a device."""


@dataclass(frozen=True)
class Charge:
    """Costs that the ledger counts for a pass.

    The ledger counts samples_forward and flops_forward, flops_draws for MC dropout, and flops_backward if the pass
    computes gradients. FLOPs are those of one image times the number of images, so tiles, loaders and processes do not
    change them. The FLOPs of one image are counted once per network, image shape and ``what``. The key ``what`` names
    the computation; None counts the FLOPs in each pass.
    """

    what: Hashable | None
    num_images: int | None = None  # over all processes; None: those that this process reads


@dataclass
class ModelPass:
    """A model with the settings for passes over images.

    A learner creates one and shares it with all code that reads images. The pass runs on ``device``; None leaves the
    model on its device. ``ledger`` is that of the current round.

    >>> from dal.data.images import TensorSource
    >>> from dal.models import Classifier
    >>> from dal.models.adapt import as_adapted
    >>> from dal.models.backbones import SmallCNN
    >>> images = TensorSource(torch.zeros(5, 1, 8, 8, dtype=torch.uint8))
    >>> data = ImageData("toy", images, list("abcde"), torch.arange(5) % 2, ["cat", "dog"], mean=[0.5], std=[0.5])
    >>> passes = ModelPass(as_adapted(Classifier(SmallCNN(1, (8, 8)), 2)))
    >>> passes.logits(data, torch.tensor([3, 0])).shape, passes.ledger.row()["samples_forward_test"]
    (torch.Size([2, 2]), 2)
    """

    model: AdaptedModel
    config: ScoringConfig = field(default_factory=ScoringConfig)
    device: torch.device | None = None
    ledger: Ledger = field(default_factory=Ledger)
    on_progress: OnProgress = silent
    observer: Observer = field(default_factory=Observer)
    """What records a campaign keeps of passes."""
    pooling: Pooling = field(default_factory=Pooling)
    """How scores of pixels become scores of units, for segmentation."""
    half_size: bool = False
    """Whether the weights are those for images of half the size, which all passes and the training then read."""

    def run(
        self,
        data: ImageData,
        indices: Tensor,
        reduce: Reduce,
        phase: str = "score",
        *,
        seed: int = 0,
        charge: Charge | None = None,
        new_store: NewStore = lambda num_rows, device: RowStore(num_rows),
    ) -> Kept:
        """Apply ``reduce`` to the plain view of the points.

        The rows have the order of ``indices``. They are tensors on the CPU unless ``new_store`` keeps them elsewhere.
        Every tile has the same number of images (the last tile is padded), so a row depends neither on the loader's
        batch size nor on the number of points. If memory runs out, the pass warns and restarts with tiles of half the
        size.

        Raises:
            NonFiniteError: a value is NaN or infinite; the error names the image.
            DalError: one image does not fit into memory, or the network does not support channels_last=True or
                compile=True.
        """
        if not len(indices):
            return {}
        data = self.sized(data)
        with scoring_view(self.model, seed, self.device, is_dense=data.task.is_dense) as view:
            target = next(iter(self.model.module.parameters())).device
            places = torch.arange(PROBE_SIZE).clamp(max=len(indices) - 1)
            few = view.prepare(data.plain(indices[places].tolist()).to(target), data.label_like)
            with _layout(view, few, self.config) as layout, forward_precision(self.config.precision, target):
                numbers = few[0].numel()
                tiled = _TiledPass(self, view, data, indices, reduce, layout, phase, new_store, numbers)
                try:
                    what = None if charge is None else charge.what
                    budget = self.config.tile_bytes
                    size = self.config.tile_size or size_of_tiles(view, reduce, layout(few), what, budget)
                    flops = Flops() if charge is None else flops_of(view, reduce, layout(few), what, seed)
                    if self.config.tile_size and charge is None and tiled.prefetches(target):
                        # A model that draws from the global generators must be known before a thread reads images.
                        reduce(view, layout(few))
                except NonFiniteError as error:
                    raise _not_finite(data, indices, int(places[error.row or 0])) from error
                kept = tiled.run_within_memory(size)
        if charge is not None:
            count = len(indices) if charge.num_images is None else charge.num_images
            self._charge(phase, flops, count)
        return kept

    def logits(self, data: ImageData, indices: Tensor, phase: str = "test") -> Tensor:
        """Return the (N, C) float32 logits of the points' plain views.

        The pass is charged to ``phase``. Raises DalError if ``indices`` is empty, and the errors of run().
        """
        if not len(indices):
            raise bad_value(phase, "at least one labeled point", 0)
        # With recorded rows, the pass computes the same logits in tiles of the same size.
        reduce: Reduce = self.observer.of_phase.get(phase, lambda view, x: {"logits": view.logits(x)})
        return all_rows(self.run(data, indices, reduce, phase, charge=Charge("logits"))["logits"])

    def features(
        self,
        data: ImageData,
        indices: Tensor,
        phase: str = "embed",
        *,
        charged: bool = True,
        new_store: NewStore = lambda num_rows, device: RowStore(num_rows),
    ) -> Rows:
        """Return the (N, D) inputs of the last layer.

        They have the precision of the network. Raises the errors of run().
        """
        charge = Charge("features") if charged else None
        reduce: Reduce = lambda view, x: {"features": view.features(x)}  # noqa: E731
        return self.run(data, indices, reduce, phase, charge=charge, new_store=new_store)["features"]

    def sized(self, data: ImageData) -> ImageData:
        """Return the data with images of the size that the model reads."""
        return data.at_half_size if self.half_size else data

    def _charge(self, phase: str, flops: Flops, count: int) -> None:
        counts = {"samples_forward": count, "flops_forward": flops.forward * count // PROBE_SIZE}
        if flops.backward:
            counts["flops_backward"] = flops.backward * count // PROBE_SIZE
        if flops.apart:
            counts["flops_draws"] = flops.apart * count // PROBE_SIZE
        self.ledger.add(phase, **counts)


@dataclass(frozen=True)
class _TiledPass:
    """The inputs of a pass except its tile size."""

    passes: ModelPass
    view: ScoringModel
    data: ImageData
    indices: Tensor
    reduce: Reduce
    layout: Callable[[Tensor], Tensor]
    phase: str
    new_store: NewStore
    numbers_per_image: int

    def run_within_memory(self, size: int) -> Kept:
        """Run with tiles of ``size`` images, halved while memory runs out."""
        while True:
            try:
                return self._run(size)
            except NonFiniteError as error:
                raise _not_finite(self.data, self.indices, error.row or 0) from error
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if size == 1:
                    raise DalError(
                        "scoring: out of memory for a tile of one image; use fewer draws, a smaller network, "
                        "scoring.precision=bf16, or another device (trainer.accelerator=cpu)."
                    ) from error
            # Outside the except block, because the traceback holds the tensors of the tile.
            release_cached()
            size //= 2
            warnings.warn(f"scoring: out of memory; the pass restarts with scoring.tile_size={size}.", stacklevel=3)

    def _run(self, size: int) -> Kept:
        config, device = self.passes.config, next(iter(self.passes.model.module.parameters())).device
        self.view.compiled = CompiledPasses(size) if config.compile else None
        follows = self.reduce if isinstance(self.reduce, Following) else None
        num_rows = None if follows is None else follows.num_rows
        store = self.new_store(len(self.indices) if num_rows is None else num_rows, device)
        rows, done, label_like = RowBuffer(store), 0, self.data.label_like
        at_once = min(config.batch_size, max(1, _LOADED_BYTES // (4 * self.numbers_per_image)))
        whole_tiles = max(1, at_once // size) * size
        gpu = device.type == "cuda"  # which normalizes faster, and bytes take a quarter of the time to copy
        loader = plain_batches(self.data, self.indices, whole_tiles, config.num_workers, pin_memory=gpu, of_source=gpu)
        # Made in this thread, because it draws from the global generator and may start processes.
        tiles = to_device(cut(iter(loader), size), device)
        completed = self.data.normalized if gpu else Tensor.float
        in_flight = InFlight(device, checks_later=follows is None and not self.data.task.is_dense)
        with prefetched(tiles) if self.prefetches(device) else nullcontext(tiles) as source:
            for tile in source:
                if follows is not None:
                    follows.at(done, tile.valid)
                with in_flight.tile(done):
                    images = self.view.prepare(completed(tile.arrived()), label_like)
                    reduced = self.reduce(self.view, self.layout(images))
                with _row_of_image(follows):
                    rows.append(
                        reduced
                        if num_rows is not None
                        else {name: part[: tile.valid] for name, part in reduced.items()}
                    )
                done += tile.valid
                self.passes.on_progress(self.phase, done, len(self.indices))
        in_flight.finish()
        if follows is not None:
            follows.at_end()
        with _row_of_image(follows):
            return rows.finish()

    def prefetches(self, device: torch.device) -> bool:
        """Whether to prefetch: on a GPU; on a CPU, if a thread pays off.

        Reading pixels from memory is faster than a thread, and loader workers prefetch by themselves. A thread that
        reads a Dataset seeds the global generators, from which the model may draw.
        """
        if self.view.draws_globally:
            return False
        return device.type != "cpu" or (self.passes.config.num_workers == 0 and not is_in_memory(self.data.source))


@contextmanager
def _row_of_image(follows: Following | None) -> Iterator[None]:
    """Make the row of a NonFiniteError that of its image."""
    try:
        yield
    except NonFiniteError as error:
        if follows is None or error.row is None:
            raise
        raise NonFiniteError(str(error), follows.image_of_row(error.row)) from error


@contextmanager
def _layout(view: ScoringModel, few: Tensor, config: ScoringConfig) -> Iterator[Callable[[Tensor], Tensor]]:
    """Set the layout of the weights; yield a function for the images."""
    wanted = config.channels_last
    if wanted is None:
        wanted = few.device.type == "cpu" or (few.device.type == "cuda" and config.precision != "32")
    if wanted and few.ndim == 4 and suits_channels_last(view, few):
        with channels_last_weights(view.module):
            yield channels_last
    elif config.channels_last and few.ndim == 4:
        raise DalError(
            "scoring.channels_last: expected a network that supports this layout, got an error or other numbers; "
            "replace x.view(...) by x.reshape(...) in forward(), or set scoring.channels_last=false."
        )
    else:
        yield lambda x: x


def _not_finite(data: ImageData, indices: Tensor, place: int) -> NonFiniteError:
    index = int(indices[place])
    return NonFiniteError(
        f"model: expected finite logits and features, got NaN or infinity for {data.ids[index]!r} (index {index}).",
        place,
    )
