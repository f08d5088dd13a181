"""The one pass of a model over points: batches are loaded, cut into tiles, reduced on the device, and put in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, Summary
from dal.data.base import ImageData
from dal.data.datamodule import plain_batches
from dal.errors import NonFiniteError, bad_value
from dal.models.adapt import AdaptedModel, ScoringModel, scoring_view
from dal.progress import OnProgress, silent


@dataclass
class ScoringConfig:
    """How the pool is read. Only tile_size can change a result, and then by rounding alone."""

    batch_size: int = 512  # images a loader reads at a time
    num_workers: int = 0
    tile_size: int = 128  # images a forward pass; kernels round differently for other sizes, so it is fixed for a run
    precision: str = "32"  # 32, bf16 or 16: autocast of the forward passes

    def __post_init__(self) -> None:
        for name in ("batch_size", "tile_size"):
            if getattr(self, name) < 1:
                raise bad_value(f"scoring.{name}", "at least 1", getattr(self, name))
        if self.num_workers < 0:
            raise bad_value("scoring.num_workers", "at least 0", self.num_workers)
        if self.precision not in AUTOCAST:
            raise bad_value("scoring.precision", f"one of {', '.join(AUTOCAST)}", self.precision)


AUTOCAST = {"32": None, "bf16": torch.bfloat16, "16": torch.float16}


def pool_pass(
    model: AdaptedModel,
    data: ImageData,
    indices: Tensor,
    reduce: Callable[[ScoringModel, Tensor], Summary],
    *,
    seed: int = 0,
    config: ScoringConfig | None = None,
    device: torch.device | None = None,
    on_progress: OnProgress = silent,
    phase: str = "score",
) -> Summary:
    """Run ``reduce`` over the plain view of the points, and return its tensors on the CPU, rows in the order of
    ``indices``. Every tile has the same number of images (the last is filled up), so that a point's row does not
    depend on the loader's batch size, nor on how many points there are.

    Raises NonFiniteError, naming the image, where a value is NaN or infinite.
    """
    config = config or ScoringConfig()
    rows: list[Summary] = []
    done = 0
    loader = plain_batches(data, indices, config.batch_size, config.num_workers)
    with scoring_view(model, seed, device) as view:
        target = next(iter(model.module.parameters())).device
        dtype = AUTOCAST[config.precision]
        with torch.autocast(target.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            for tile, count in _tiles(loader, config.tile_size):
                try:
                    reduced = reduce(view, tile.to(target, non_blocking=True))
                except NonFiniteError as error:
                    raise _not_finite(data, indices, done + (error.row or 0)) from error
                rows.append(tuple(part[:count].cpu() for part in reduced))
                done += count
                on_progress(phase, done, len(indices))
    summary = tuple(torch.cat(parts) for parts in zip(*rows, strict=True)) if rows else ()
    for part in summary:
        finite = torch.isfinite(part.reshape(len(part), -1)).all(dim=1)
        if not bool(finite.all()):
            raise _not_finite(data, indices, int((~finite).nonzero()[0, 0]))
    return summary


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
) -> Summary:
    """What the acquisition function keeps of these points. One that needs no pass gets empty rows at no cost."""
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
    )


def _tiles(batches: Iterable[Tensor], size: int) -> Iterator[tuple[Tensor, int]]:
    """Batches of any sizes as tiles of one size, each with the number of its rows that count."""
    waiting: list[Tensor] = []
    held = 0
    for batch in batches:
        waiting.append(batch)
        held += len(batch)
        if held >= size:
            joined = torch.cat(waiting)
            whole = held - held % size
            for tile in torch.split(joined[:whole], size):
                yield tile, size
            waiting, held = [joined[whole:]], held - whole
    if held:
        last = torch.cat(waiting)
        yield torch.cat([last, last[:1].expand(size - held, *last.shape[1:])]), held


def _not_finite(data: ImageData, indices: Tensor, place: int) -> NonFiniteError:
    index = int(indices[place])
    return NonFiniteError(
        f"model: expected finite logits and features, got NaN or infinity for {data.ids[index]!r} (index {index})."
    )
