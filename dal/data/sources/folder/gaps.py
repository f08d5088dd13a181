"""A source of the images of a folder of which some cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from dal.data.images import DIGEST_BYTES, ImageSource, image_digests
from dal.data.sources.folder.gone import gone, is_lost
from dal.errors import DalError

NO_DIGEST = bytes(DIGEST_BYTES)
"""The digest of an image that could not be decoded at the start of a run."""


class WithGaps:
    """Images of another source, with black images where a place is None.

    ``files`` are the paths of all images relative to ``root``. An image that can no longer be read becomes a gap.
    ``first`` are the digests of the images at the start of a run, which gaps keep. A run thus resumes without an image
    that is gone, and refuses one that is replaced.

    >>> from dal.data.images import TensorSource
    >>> white = TensorSource(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    >>> WithGaps(white, [None, 0]).batch([0, 1]).amax(dim=(1, 2, 3)).tolist()
    [0, 255]
    """

    def __init__(
        self,
        source: ImageSource,
        places: Sequence[int | None],
        root: Path | None = None,
        files: Sequence[str] = (),
        first: Sequence[bytes] | None = None,
    ) -> None:
        self.source, self.places, self.root, self.files = source, list(places), root, files
        self._first = [NO_DIGEST] * len(self.places) if first is None else list(first)
        self._at_start = image_digests(source, range(len(source)))
        self._black = torch.zeros_like(source.batch([0])[0])

    def __len__(self) -> int:
        return len(self.places)

    @property
    def gaps(self) -> set[int]:
        """The images that have no pixels."""
        return {index for index, place in enumerate(self.places) if place is None}

    def missing(self, indices: Sequence[int]) -> list[int]:
        """Return those of the images that have no pixels or whose files are gone."""
        absent = set() if self.root is None else set(gone(self.root, self.files, indices))
        return [index for index in indices if self.places[index] is None or index in absent]

    def batch(self, indices: Sequence[int]) -> Tensor:
        wanted = [int(index) for index in indices]
        places = [place for index in wanted if (place := self.places[index]) is not None]
        if len(places) == len(wanted):
            with suppress(DalError):  # the images one by one tell which cannot be read
                return self.source.batch(places)
        return torch.stack([self._image(index) for index in wanted])

    def _image(self, index: int) -> Tensor:
        """Return one image. One that can no longer be read becomes a gap."""
        place = self.places[index]
        if place is not None:
            try:
                return self.source.batch([place])[0]
            except DalError:
                if self.root is None or not is_lost(self.root, self.files, index):
                    raise
                self.places[index] = None
        return self._black

    def digests(self, indices: Sequence[int]) -> list[bytes] | None:
        if self._at_start is None:
            return None
        places = [(int(index), self.places[int(index)]) for index in indices]
        return [self._first[index] if place is None else self._at_start[place] for index, place in places]
