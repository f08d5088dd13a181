"""Recognizes images with several frames or pages, of which only the first is read."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from PIL import Image

from dal.data.sources.folder.listing import shown

# The other pictures of these are previews, views of the same scene, or layers of the picture that Pillow reads.
_ONE_PICTURE = {"MPO", "PSD"}


def has_more_frames(image: Image.Image) -> bool:
    """Return whether an image, as ``Image.open`` returns it, has several frames or pages.

    Call it after the pixels are read, because it can move to another frame.
    """
    if image.format in _ONE_PICTURE:
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    # Pillow's parsers raise exceptions of any type on damaged bytes. The first frame is intact.
    except Exception:  # noqa: BLE001
        return False


def warn_of_frames(names: Sequence[str], found: str) -> None:
    """Warn once about all images of which only the first frame is read.

    ``found`` describes the images among which they are.
    """
    if names:
        has = "has" if len(names) == 1 else "have"
        warnings.warn(
            f"{len(names):,} of {found} {has} several frames or pages, of which only the first is used: "
            f"{shown(names)}.",
            stacklevel=3,
        )


class FirstFrames:
    """Collects images with several frames while a data set is read, and warns once."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}  # in order
        self._told = False

    def note(self, name: str, image: object) -> None:
        """Remember an image if it has several frames."""
        if not self._told and isinstance(image, Image.Image) and has_more_frames(image):
            self._names[name] = None

    def tell(self, found: str) -> None:
        """Warn about the images so far. Later calls do nothing."""
        if self._names and not self._told:
            self._told = True
            warn_of_frames(list(self._names), found)
