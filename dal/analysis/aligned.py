"""Brings the learning curves of groups to the same labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dal.analysis.axis import bought, noun
from dal.analysis.grouping import Group
from dal.errors import DalError


def align(groups: Sequence[Group]) -> tuple[NDArray[Any], NDArray[np.bool_], list[Group]]:
    """Return the labels (T,) that all curves share, (T,) whether every run has a round there, and the groups there.

    Raises DalError if the curves share no labels.
    """
    axis = groups[0].axis
    counts = [[bought(run, axis) for run in group.runs] for group in groups]
    every = list(chain.from_iterable(counts))
    low, high = max(x[0] for x in every), min(x[-1] for x in every)
    union = np.unique(np.concatenate(every))
    labels = union[(union >= low) & (union <= high)]
    if not len(labels):
        raise DalError(
            f"runs: expected label counts that all runs share, got a run that ends at {high} {noun(axis)} and one "
            f"that starts at {low}."
        )
    measured = np.all([np.isin(labels, x) for x in every], axis=0)
    aligned = []
    for group, own in zip(groups, counts, strict=True):
        rows = [np.interp(labels, x, run.curve) for x, run in zip(own, group.runs, strict=True)]
        aligned.append(replace(group, labels=labels, accuracy=np.array(rows, dtype=np.float64), note=""))
    return labels, measured, aligned
