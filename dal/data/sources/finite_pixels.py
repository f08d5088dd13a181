"""Names images with pixels that are NaN or infinite."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from dal.data.sources.content_marks import has_bytes
from dal.data.sources.folder.listing import shown


class FinitePixels:
    """Warns once about images whose pixels are NaN or infinite. A network may be made for them."""

    def __init__(self) -> None:
        self._told = False

    def look_in_memory(self, dataset: Any, places: list[int]) -> None:
        """Warn about all such images of a TensorDataset. ``places`` are the positions of the points in it."""
        images = dataset.tensors[0] if isinstance(dataset, TensorDataset) else None
        if images is None or not has_bytes(images) or not images.is_floating_point() or images.ndim < 2:
            return
        sums = images.flatten(1).sum(dim=1, dtype=torch.float64)[places]
        self._tell((~sums.isfinite()).nonzero().flatten().tolist())

    def note(self, index: int, pixels: Tensor) -> None:
        """Warn about an image that was read."""
        # One sum is several times as fast as a look at each pixel.
        if not self._told and pixels.is_floating_point() and not math.isfinite(pixels.sum(dtype=torch.float64).item()):
            self._tell([index])

    def _tell(self, indices: list[int]) -> None:
        if indices:
            self._told = True
            count = "an image" if len(indices) == 1 else f"{len(indices):,} images"
            names = shown([f"dataset[{index}]" for index in indices])
            warnings.warn(f"dataset: {count} with pixels that are NaN or infinite: {names}.", stacklevel=4)
