"""Checks what a learner is given for scoring and selection."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, ScoreFunction
from dal.data.images import ImageData
from dal.errors import bad_value
from dal.runtime.user_paths import exists
from dal.scoring.candidates import AllCandidates, Candidates
from dal.scoring.config import ScoringConfig
from dal.scoring.external_features import check_external_features, takes_external_features
from dal.scoring.target_points import load_target_points


def check_acquisition(acquisition: Any, data: ImageData) -> None:
    """Raise DalError for anything but an acquisition function that works with the task and the units of the data."""
    if not isinstance(acquisition, AcquisitionFunction):
        raise bad_value("acquisition", "an acquisition function such as Margin()", type(acquisition).__name__)
    # A unit of one pixel is as a point of classification, except that its class is not among the labels.
    is_one_pixel = data.task.is_dense and int(data.units.pixels.max()) == 1
    if not is_one_pixel or acquisition.learns_from_labels or acquisition.uses_target_points:
        data.task.check_acquisition(acquisition)


def candidates_for(candidates: Any, acquisition: AcquisitionFunction, num_points: int) -> Candidates:
    """Return the candidates, by default all points.

    Raises DalError if they are not candidates, do not fit the number of points, or need scores of single points that
    the acquisition function does not give.
    """
    if candidates is None:
        return AllCandidates()
    if isinstance(candidates, type) or not isinstance(candidates, Candidates):
        raise bad_value("candidates", "candidates such as RandomCandidates(10_000)", candidates)
    candidates.check(num_points, 1)
    if keeps_scores(candidates) and not isinstance(acquisition, ScoreFunction):
        expected = "a function that scores points independently, such as margin, for these candidates"
        raise bad_value("acquisition", expected, acquisition.name)
    return candidates


def keeps_scores(candidates: Candidates) -> bool:
    """Return whether the candidates use the last score of each point."""
    return bool(getattr(candidates, "needs_scores", False))


def target_points_for(scoring: ScoringConfig, acquisition: AcquisitionFunction, data: ImageData) -> Tensor | None:
    """Check the file of external features, and return the target points if the acquisition function uses them.

    Raises DalError if a file cannot be read or does not fit the data.
    """
    takes_features = takes_external_features(acquisition)
    for name, path, is_used in (
        ("features_file", scoring.features_file, takes_features),
        ("target_points", scoring.target_points, acquisition.uses_target_points),
    ):
        if path is not None and not is_used and not exists(path):
            warnings.warn(
                f"scoring.{name}: {path!r} does not exist, and {acquisition.name} does not use it.", stacklevel=3
            )
    if scoring.features_file is not None and takes_features:
        check_external_features(scoring.features_file, data.num_points)
    if scoring.target_points is None or not acquisition.uses_target_points:
        return None
    return load_target_points(scoring.target_points, data.point_ids)
