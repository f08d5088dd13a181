"""Features from a file, for acquisition functions that choose by features: those of any network, computed once."""

from __future__ import annotations

from torch import Tensor

from dal.acquisition.base import AcquisitionFunction
from dal.acquisition.search.rows import DiskRows, check_table

_ARGUMENT = "scoring.features_file"


def check_external_features(path: str, num_points: int) -> None:
    """Raise DalError unless the file holds floating-point numbers (N, D) for so many points, all of them finite."""
    check_table(_ARGUMENT, DiskRows(path, _ARGUMENT), num_points)


def takes_external_features(acquisition: AcquisitionFunction) -> bool:
    """Whether other features can take the place of the network's."""
    return "features" in acquisition.keeps


def external_features(path: str, indices: Tensor) -> Tensor:
    """(B, D) rows of the file at these positions in the training set, of the file's dtype, in memory."""
    return DiskRows(path, _ARGUMENT)[indices]
