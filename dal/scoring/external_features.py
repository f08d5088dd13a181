"""Precomputed features from a file, for acquisition functions that use features."""

from __future__ import annotations

from torch import Tensor

from dal.acquisition.base import AcquisitionFunction
from dal.acquisition.search.rows import DiskRows, check_table
from dal.errors import bad_value

_ARGUMENT = "scoring.features_file"


def check_external_features(path: str, num_points: int) -> None:
    """Raise DalError unless the file holds finite floating-point numbers (num_points, D)."""
    check_table(_ARGUMENT, DiskRows(path, _ARGUMENT), num_points)


def takes_external_features(acquisition: AcquisitionFunction) -> bool:
    """Whether external features can replace those of the network."""
    return "features" in acquisition.keeps


def check_replaceable(path: str | None, acquisition: AcquisitionFunction) -> None:
    """Raise DalError if features of the file replace those of images outside the training set."""
    if path and takes_external_features(acquisition):
        raise bad_value(_ARGUMENT, "null for images outside the training set, which have no row in the file", path)


def external_features(path: str, indices: Tensor) -> Tensor:
    """Read the (B, D) rows at these training set positions into memory."""
    return DiskRows(path, _ARGUMENT)[indices]
