"""Features from a file, for acquisition functions that choose by features: those of any network, computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction
from dal.acquisition.search.numbers import row_blocks
from dal.errors import NonFiniteError, bad_value

Floats = NDArray[np.floating[Any]]

_AT_ONCE = 2**22


def load_array(argument: str, path: str) -> Floats:
    """The array of a .npy file, memory-mapped. Raises DalError, naming the argument, where there is none."""
    try:
        loaded: Any = np.load(Path(path), mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "no array in it"
        raise bad_value(argument, "a .npy file of an array", f"{path} ({reason})") from error
    if not isinstance(loaded, np.ndarray):
        raise bad_value(argument, "a .npy file of one array", path)
    return loaded


def check_external_features(path: str, num_points: int) -> None:
    """Raise DalError unless the file holds floating-point numbers (N, D) for so many points, all of them finite."""
    array = load_array("scoring.features_file", path)
    if array.ndim != 2 or not array.shape[1] or array.dtype not in (np.float16, np.float32, np.float64):
        got = f"{array.dtype} of shape {array.shape}"
        raise bad_value("scoring.features_file", "floating-point numbers of shape (N, D)", got)
    if len(array) != num_points:
        expected = f"one row for each of the {num_points} images of the training set"
        raise bad_value("scoring.features_file", expected, len(array))
    for block in row_blocks(len(array), array.shape[1], _AT_ONCE):
        finite = np.isfinite(array[block]).all(axis=1)
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0]) + block.start
            raise NonFiniteError(
                f"scoring.features_file: expected finite numbers, got NaN or infinity in row {row}.", row
            )


def takes_external_features(acquisition: AcquisitionFunction) -> bool:
    """Whether other features can take the place of the network's."""
    return "features" in acquisition.keeps


class ExternalFeatures:
    """The rows (N, D) of a .npy file in the order of the training set, read when they are asked for."""

    def __init__(self, path: str) -> None:
        self._array = load_array("scoring.features_file", path)

    def rows(self, indices: Tensor) -> Tensor:
        """(B, D), of the file's dtype, in memory."""
        return torch.from_numpy(np.array(self._array[indices.numpy()], order="C"))
