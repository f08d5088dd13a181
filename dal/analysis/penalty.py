"""Pairwise penalty matrix (Ash et al., arXiv:1906.03671)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dal.analysis.pairing import Problem
from dal.analysis.statistics.paired_tests import paired_p_values

Ints = NDArray[np.int64]

LEVEL = 0.05  # two-sided, not corrected: as in the paper


def wins(problem: Problem) -> tuple[Ints, int]:
    """Return the wins, (F, F), and the number of label counts.

    An entry is the number of label counts at which the row's function beats the column's. A function beats another at a
    label count if its mean accuracy over seeds is higher and a two-sided paired t-test over seeds rejects at 5 %. The
    label counts are those at which every run has a round, except the initial set, which no function selected. With one
    seed, no function beats another.
    """
    counts = np.flatnonzero(problem.measured & (np.arange(len(problem.labels)) > 0))
    accuracy = [function.accuracy[:, counts] for function in problem.functions]
    matrix = np.zeros((len(accuracy), len(accuracy)), dtype=np.int64)
    for i, one in enumerate(accuracy):
        for j, other in enumerate(accuracy):
            if i != j:
                beaten = (paired_p_values(one, other) < LEVEL) & (one.mean(axis=0) > other.mean(axis=0))
                matrix[i, j] = int(beaten.sum())
    return matrix, len(counts)


def penalty_matrix(problems: Sequence[Problem]) -> pd.DataFrame:
    """Return how often the row's function beats the column's, (F, F).

    Each label count of a problem weighs 1 over their number, so the largest possible entry is the number of problems.
    The matrix includes the functions that all problems have, sorted by column mean: the least often beaten first. The
    mean of a column, with 0 on the diagonal, measures how often its function is beaten, so lower is better.
    """
    names = common_functions(problems)
    total = np.zeros((len(names), len(names)))
    for problem in problems:
        matrix, count = wins(problem)
        at = [problem.names.index(name) for name in names]
        if count:
            total += matrix[np.ix_(at, at)] / count
    table = pd.DataFrame(total, index=names, columns=names)
    means = column_means(table)
    order = sorted(names, key=lambda name: means[name])  # stable: ties stay in the order of the first problem
    return table.loc[order, order]


def column_means(table: pd.DataFrame) -> pd.Series:
    """Return the mean of each column, (F,)."""
    return table.mean(axis=0)


def common_functions(problems: Sequence[Problem]) -> list[str]:
    """Return the functions in all problems, ordered as in the first."""
    return [name for name in problems[0].names if all(name in problem.names for problem in problems)]
