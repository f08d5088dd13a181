"""Recognizes image files, which Pillow decodes without another program."""

from __future__ import annotations

from functools import cache

from PIL import Image

# Pillow only recognizes these, decodes them with another program, or can only write them.
_NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PALM", "PDF", "WMF"}
# Pillow opens these as JPEG.
_AS_JPEG = {"MPO"}
_NEEDS = {
    ".avif": "Pillow 11.3 or later",
    ".avifs": "Pillow 11.3 or later",
    ".heic": "the package pi-heif",
    ".heics": "the package pi-heif",
    ".heif": "the package pi-heif",
    ".heifs": "the package pi-heif",
    ".hif": "the package pi-heif",
}


@cache
def suffixes() -> frozenset[str]:
    """Return the suffixes of image files, in lower case.

    >>> ".jfif" in suffixes(), ".pdf" in suffixes()
    (True, False)
    """
    opened = _opened()
    return frozenset(
        suffix for suffix, name in Image.registered_extensions().items() if name in opened or name in _AS_JPEG
    )


@cache
def formats(suffix: str) -> tuple[str, ...]:
    """Return Pillow's names of the possible formats for a suffix.

    A format without a signature is only tried for its own suffix, because any bytes could match it. Of the others, that
    of the suffix comes first, because it usually matches.
    """
    own = Image.registered_extensions().get(suffix.lower()) if _opened() else None
    names = sorted(name for name in _opened() if name == own or Image.OPEN[name][1] is not None)
    return tuple(sorted(names, key=lambda name: name != own or Image.OPEN[name][1] is None))


@cache
def any_format() -> tuple[str, ...]:
    """Return Pillow's names of all formats, for content without a file name.

    Formats without a signature come last, because any bytes could match them.
    """
    return tuple(sorted(_opened(), key=lambda name: (Image.OPEN[name][1] is None, name)))


def is_image(name: str) -> bool:
    """Return whether the suffix is that of an image file."""
    return _suffix(name) in suffixes()


def kind(name: str) -> str:
    """Describe a non-image file by its suffix and missing requirements.

    >>> kind("notes.TXT"), kind("LICENSE")
    ('.txt', 'without a suffix')
    """
    suffix = _suffix(name)
    if not suffix:
        return "without a suffix"
    return f"{suffix} (needs {_NEEDS[suffix]})" if suffix in _NEEDS else suffix


def _suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot and stem else ""


@cache
def _opened() -> frozenset[str]:
    try:
        from pi_heif import register_heif_opener  # optional: the extra heic
    except ImportError:
        pass
    else:
        register_heif_opener()
    Image.init()
    return frozenset(Image.OPEN) - _NOT_DECODED
