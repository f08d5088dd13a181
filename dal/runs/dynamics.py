"""What a round leaves for diagnosis: predictions of points and statistics of layers, without PyTorch."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dal.runs.files.committed import check_if_committed, damaged, read_bytes
from dal.runs.files.state import State

Arrays = Mapping[str, NDArray[np.generic]]

MOST_CLASSES = 20
"""Up to this number of classes, all log-probabilities of a test point are recorded, and else those of its TOP classes.
"""
TOP = 5


def dynamics_file(round: int) -> str:
    """Return the file name of the records of this round.

    >>> dynamics_file(4)
    'dynamics_004.npz'
    """
    return f"dynamics_{round:03d}.npz"


def features_file(round: int) -> str:
    """Return the file name of the features of this round, of which a run keeps the last."""
    return f"features_{round:03d}.npz"


def packed(arrays: Arrays) -> bytes:
    """Return arrays as a compressed .npz file. The same arrays give the same bytes.

    >>> packed({"a": np.arange(3)}) == packed({"a": np.arange(3)})
    True
    """
    file = io.BytesIO()
    np.savez_compressed(file, **{name: np.asarray(values) for name, values in arrays.items()})  # type: ignore[arg-type]
    return file.getvalue()


def read_arrays(folder: Path, name: str, state: State) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a committed file.

    Raises DalError if the file is missing or damaged. Pickled objects are damage: reading them would run code.
    """
    check_if_committed(folder, name, state)
    data = read_bytes(folder, name)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except Exception as error:  # zipfile and NumPy raise many types
        raise damaged(folder, name, type(error).__name__) from error
