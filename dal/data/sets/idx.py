"""Reader for IDX, the MNIST file format: magic number, dimension sizes, values."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from dal.errors import DalError, bad_content, bad_value

_UINT8 = 0x08


def read_idx(path: Path, ndim: int) -> Tensor:
    """Return the uint8 tensor with ``ndim`` dimensions in an IDX file.

    A file whose name ends in .gz is decompressed.

    Raises DalError if the file cannot be read, is not IDX, has a type other than uint8 or another number of dimensions,
    or does not have the length that its header implies.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DalError(f"{path}: expected a file that can be read, got {type(error).__name__} ({reason}).") from error
    header = 4 + 4 * ndim
    magic = bytes([0, 0, _UINT8, ndim])
    if raw[:4] != magic:
        raise bad_value(str(path), f"an IDX file that begins with the bytes {magic.hex()}", raw[:4].hex())
    if len(raw) < header:
        raise bad_content(str(path), f"a header of {header} bytes", f"{len(raw)} bytes")
    shape = struct.unpack(f">{ndim}I", raw[4:header])
    if len(raw) != header + math.prod(shape):
        expected = f"{math.prod(shape)} values for the shape {shape}"
        raise bad_content(str(path), expected, f"{len(raw) - header}")
    if 0 in shape:
        raise bad_content(str(path), "at least one value", f"the shape {shape}")
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=header).view(shape)
