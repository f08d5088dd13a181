"""The images of a run, as a browser displays them. They are addressed by their index only."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock, Semaphore
from typing import Any, NamedTuple, Protocol

from PIL import Image

from dal.data.sources.folder.formats import formats
from dal.data.sources.folder.pixels import upright_rgb
from dal.errors import DalError, reason

MOST_SIDE = 3840
"""Longest side in pixels of an image that is not sent as it is."""
_MOST_BYTES = 6 * 2**20
_MOST_PIXELS = 89_478_485  # the limit of decoding in dal.data
_LARGE_PIXELS = 2**25
_HEAD_BYTES = 4096
_DECODING = Semaphore(2)


class Picture(NamedTuple):
    """The bytes of an image, their media type, and a tag that changes with them."""

    body: bytes
    media_type: str
    tag: str


class PictureError(DalError):
    """An image that cannot be shown. ``is_gone`` tells whether its file is missing."""

    def __init__(self, sentence: str, is_gone: bool = False) -> None:
        super().__init__(sentence)
        self.is_gone = is_gone


class Pictures(Protocol):
    """Interface of the images of a run."""

    def __len__(self) -> int: ...

    def tag(self, index: int, side: int | None = None) -> str:
        """Return a tag of an image without reading it. Raises PictureError for one that is gone."""
        ...

    def picture(self, index: int, side: int | None = None) -> Picture:
        """Return an image, or a preview whose longest side has ``side`` pixels. Raises PictureError."""
        ...


class FolderPictures:
    """Images in a folder. ``files`` are their paths relative to it, by index.

    A browser gets the file itself if it displays it as dal reads it. Others are decoded.
    """

    def __init__(self, root: Path, files: Sequence[str]) -> None:
        self.root, self.files = root, files

    def __len__(self) -> int:
        return len(self.files)

    def tag(self, index: int, side: int | None = None) -> str:
        try:
            found = (self.root / self.files[index]).stat()
        except (OSError, ValueError):
            raise PictureError("The file of this image is gone.", is_gone=True) from None
        return _tag(found.st_mtime_ns, found.st_size, found.st_ino, side)

    def picture(self, index: int, side: int | None = None) -> Picture:
        tag, path = self.tag(index, side), self.root / self.files[index]
        try:
            data = _read(path)
        except (OSError, ValueError) as error:
            raise PictureError(f"The file of this image cannot be read ({_why(error)}).") from None
        try:
            media_type = _as_it_is(data, path.suffix) if side is None else None
            if media_type is not None:
                return Picture(data, media_type, tag)
            return Picture(*_decoded(data, path.suffix, side or MOST_SIDE), tag)
        # Pillow's parsers raise exceptions of any type on damaged bytes.
        except Exception as error:  # noqa: BLE001
            raise PictureError(f"This image cannot be decoded ({_why(error)}).") from None


class DataPictures:
    """Images of ImageData, which ``load`` returns. They are read on first use, so that a page starts at once."""

    def __init__(self, count: int, load: Callable[[], Any]) -> None:
        self._count, self._load = count, load
        self._data: Any = None
        self._lock = Lock()

    def __len__(self) -> int:
        return self._count

    def tag(self, index: int, side: int | None = None) -> str:
        return _tag("data", index, side)

    def picture(self, index: int, side: int | None = None) -> Picture:
        try:
            with self._lock:
                if self._data is None:
                    self._data = self._load()
                pixels = self._data.source.batch([index])[0]
        except (DalError, OSError) as error:
            raise PictureError(f"This image cannot be read ({_why(error)}).") from None
        if pixels.is_floating_point():
            low, high = pixels.min(), pixels.max()
            pixels = ((pixels - low) / (high - low).clamp(min=1e-12) * 255).round().byte()
        values = pixels.permute(1, 2, 0).contiguous().numpy()
        channels = values.shape[2]
        image = Image.fromarray(values[:, :, 0] if channels != 3 else values)
        if side is not None:
            image.thumbnail((side, side))
        return Picture(_encoded(image, "PNG"), "image/png", self.tag(index, side))


def _read(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:  # noqa: PTH123 (a descriptor)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("it is not a regular file")
        return file.read()


def _as_it_is(data: bytes, suffix: str) -> str | None:
    """Return the media type of a still image that browsers display, or None for one to decode.

    The bytes decide, not the suffix. Animations are decoded, because dal reads their first frame.
    """
    head = data[:_HEAD_BYTES]
    if len(data) > _MOST_BYTES or _pixels(data, suffix) > _LARGE_PIXELS:
        return None
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n") and b"acTL" not in head:
        return "image/png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and b"ANIM" not in head[:64]:
        return "image/webp"
    return None


def _pixels(data: bytes, suffix: str) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=formats(suffix)) as opened:
            return opened.width * opened.height


def _decoded(data: bytes, suffix: str, side: int) -> tuple[bytes, str]:
    with _DECODING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=formats(suffix)) as opened:
            # JPEG decodes faster at 1/2, 1/4 or 1/8 scale.
            opened.draft(None, (2 * side, 2 * side))
            if opened.width * opened.height > _MOST_PIXELS:
                raise ValueError(f"{opened.width:,} x {opened.height:,} pixels are too many")
            image = upright_rgb(opened)
            if max(image.size) > side:
                image.thumbnail((side, side), Image.Resampling.LANCZOS)
            is_small = image.width * image.height <= 2**18 and opened.format not in ("JPEG", "MPO")
            kind = "PNG" if is_small else "JPEG"
            return _encoded(image, kind), f"image/{kind.lower()}"


def _encoded(image: Image.Image, kind: str) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return written.getvalue()


def _tag(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=9).hexdigest()


def _why(error: BaseException) -> str:
    """Describe an error without the path of the file, which the page does not show."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = reason(error)
    return "it is not an image that Pillow can read" if "cannot identify" in text else text
