"""What a round leaves for diagnosis: predictions of points and statistics of layers, without PyTorch."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dal.errors import DalError
from dal.runs.files.atomic import write_bytes
from dal.runs.files.committed import check_if_committed, damaged, read_bytes
from dal.runs.files.state import State
from dal.runs.layout import ANY_DYNAMICS, ANY_FEATURES

Arrays = Mapping[str, NDArray[np.generic]]

MOST_CLASSES = 20
"""Up to this number of classes, all log-probabilities of a test point are recorded, and else those of its TOP classes.
"""
TOP = 5
_MOST_BYTES = 2**32
"""Maximum size of the unpacked arrays of a file. Real ones have some megabytes."""
FROM_TEST, FROM_POOL = 0, 1
"""Whether test points are of the data's test set, or bought from the pool."""


def dynamics_file(round: int) -> str:
    """Return the file name of the records of this round.

    >>> dynamics_file(4)
    'dynamics_004.npz'
    """
    return f"dynamics_{round:03d}.npz"


def features_file(round: int) -> str:
    """Return the file name of the features of this round, of which a run keeps the last."""
    return f"features_{round:03d}.npz"


def packed(arrays: Arrays, *, compress: bool = True) -> bytes:
    """Return arrays as an .npz file. The same arrays give the same bytes.

    >>> packed({"a": np.arange(3)}) == packed({"a": np.arange(3)})
    True
    """
    file = io.BytesIO()
    # NumPy compresses at a level that takes several times as long for a file that is a twentieth smaller.
    kind, level = (zipfile.ZIP_DEFLATED, 1) if compress else (zipfile.ZIP_STORED, None)
    with zipfile.ZipFile(file, "w", kind, compresslevel=level) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                np.lib.format.write_array(part, np.asarray(values), allow_pickle=False)
    return file.getvalue()


def read_arrays(folder: Path, name: str, state: State) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a committed file.

    Raises DalError if the file is missing or damaged. Pickled objects are damage: reading them would run code.
    """
    check_if_committed(folder, name, state)
    data = read_bytes(folder, name)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(part.file_size for part in archive.infolist()) > _MOST_BYTES:
                raise ValueError("expected fewer bytes")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except Exception as error:  # zipfile and NumPy raise many types
        raise damaged(folder, name, type(error).__name__) from error


def is_dynamics(name: str) -> bool:
    """Return whether a file of this name has records for diagnosis.

    >>> is_dynamics("dynamics_004.npz"), is_dynamics("features_004.npz"), is_dynamics("features_of_mine.npz")
    (True, True, False)
    """
    return fnmatch(name, ANY_DYNAMICS) or fnmatch(name, ANY_FEATURES)


def write_dynamics(folder: Path, round: int, dynamics: Arrays, features: Arrays) -> dict[str, str]:
    """Write the records of a round, and return the digests of the files by their names.

    Features are not compressed, because they are replaced after the next round.
    """
    files = {dynamics_file(round): packed(dynamics), features_file(round): packed(features, compress=False)}
    return {name: write_bytes(folder / name, data) for name, data in files.items()}


def read_dynamics(folder: Path, round: int, state: State) -> tuple[Arrays, Arrays] | None:
    """Return the records and the features of a round, or None if the commit has none.

    A run goes on without files that are damaged, and a warning says so.
    """
    names = dynamics_file(round), features_file(round)
    if not all(name in state.get("digests", {}) for name in names):
        return None
    try:
        return read_arrays(folder, names[0], state), read_arrays(folder, names[1], state)
    except DalError as error:
        warnings.warn(f"diagnosis: the next round is not compared with the one before. {error}", stacklevel=2)
        return None
