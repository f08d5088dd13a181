"""Numbers of a comparison, by function and by pair of functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dal.analysis.efficiency import efficiency_table
from dal.analysis.grouping import Group
from dal.analysis.pairing import Problem
from dal.analysis.penalty import common_functions, penalty_matrix, wins
from dal.analysis.statistics.bootstrap import NUM_RESAMPLES, bootstrap_interval, resampled_weights
from dal.analysis.statistics.curves import area_under_curve, mean_and_interval, paired_difference
from dal.analysis.statistics.paired_tests import holm, paired_differences, paired_p_values
from dal.analysis.statistics.ranks import Ranks, rank_functions
from dal.analysis.summary import BASELINE
from dal.errors import unknown_choice

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The results that `dal compare` shows. ``baseline`` may be None."""

    problems: tuple[Problem, ...]
    baseline: str | None
    functions: pd.DataFrame  # see function_table
    pairs: pd.DataFrame  # see pair_table
    targets: pd.DataFrame  # see efficiency_table
    penalty: pd.DataFrame  # see penalty_matrix
    ranked: tuple[str, ...]  # (F,) the functions in all problems
    ranks: Ranks | None  # of these by mean area; None if fewer than two are in all problems


def compare_problems(
    problems: Sequence[Problem], *, targets: Sequence[float] = (), baseline: str | None = None
) -> Comparison:
    """Compare the functions of each problem, and all problems together.

    ``baseline`` is the name of a function in all problems; None selects ``random`` if all problems have it. Raises
    DalError for other names, and as efficiency_table does.
    """
    common = common_functions(problems)
    if baseline is not None and baseline not in common:
        # Names contain commas, as in "margin, compute=saver".
        raise unknown_choice("baseline", map(repr, common), baseline)
    if baseline is None and BASELINE in common:
        baseline = BASELINE
    ranks = None
    if len(common) > 1 and all(len(problem.labels) > 1 for problem in problems):
        areas = [{f.name: float(areas_of(f).mean()) for f in problem.functions} for problem in problems]
        ranks = rank_functions([[row[name] for name in common] for row in areas])
    return Comparison(
        problems=tuple(problems),
        baseline=baseline,
        functions=pd.concat([function_table(p, baseline) for p in problems], ignore_index=True),
        pairs=pd.concat([pair_table(p) for p in problems], ignore_index=True),
        targets=pd.concat([efficiency_table(p, targets, baseline) for p in problems], ignore_index=True),
        penalty=penalty_matrix(problems),
        ranked=tuple(common),
        ranks=ranks,
    )


def areas_of(function: Group, *, log: bool = False) -> Floats:
    """Return the mean height of each seed's curve, (S,), as a fraction.

    The mean is over the labels or, with ``log``, over their logarithm, which weighs each doubling equally. It is NaN
    for a single label count.
    """
    if len(function.labels) < 2:
        return np.full(len(function.accuracy), np.nan)
    x = np.log(function.labels) if log else function.labels
    return np.array([area_under_curve(x, curve) for curve in function.accuracy])


def function_table(problem: Problem, baseline: str | None, num_resamples: int = NUM_RESAMPLES) -> pd.DataFrame:
    """Return one row per function, largest mean area first.

    Accuracies and areas are fractions. ``..._interval`` is half the width of a 95 % t interval over seeds (NaN for one
    seed). Columns:

    - ``problem``, ``function``, ``seeds``, ``first_labels``, ``last_labels``
    - ``accuracy``, under the name of the primary metric, at the last labels; ``area``, its mean over the labels from
      first to last; ``log_area``, the same over their logarithm, which weighs each doubling equally; each
      with ``..._interval``
    - ``area_low``, ``area_high``: the 95 % bootstrap interval of the area, for comparison with the t interval
    - ``difference``, ``difference_interval``: area minus the area of the baseline, seed by seed; ``p_value`` of the
      two-sided paired t-test, and ``p_holm``, corrected for all functions of the problem compared with the baseline.
      NaN for the baseline itself, or without a baseline
    """
    base = next((f for f in problem.functions if f.name == baseline), None)
    weights = resampled_weights(len(problem.seeds), num_resamples)
    rows = []
    for function in problem.functions:
        areas = areas_of(function)
        low, high = bootstrap_interval(weights @ areas, len(areas))
        row: dict[str, object] = {
            "problem": problem.name,
            "function": function.name,
            "seeds": len(problem.seeds),
            "first_labels": problem.labels[0].item(),
            "last_labels": problem.labels[-1].item(),
            **_interval(problem.metric, function.accuracy[:, -1]),
            **_interval("area", areas),
            "area_low": low,
            "area_high": high,
            **_interval("log_area", areas_of(function, log=True)),
            "difference": np.nan,
            "difference_interval": np.nan,
            "p_value": np.nan,
        }
        if base is not None and function is not base and len(problem.labels) > 1:
            row["difference"], row["difference_interval"] = _difference(areas, areas_of(base))
            row["p_value"] = float(paired_p_values(areas, areas_of(base)))
        rows.append(row)
    table = pd.DataFrame(rows)
    table["p_holm"] = holm(table["p_value"].to_numpy(np.float64))
    return table


def pair_table(problem: Problem) -> pd.DataFrame:
    """Return one row per pair of functions, larger mean area first. Columns:

    - ``problem``, ``function``, ``other``
    - ``difference``, ``difference_interval``: of their areas, seed by seed, as in function_table; ``p_value``, and
      ``p_holm``, corrected for all pairs of the problem
    - ``seeds_won``, ``seeds_tied``, ``seeds_lost``: seeds where the area of ``function`` is larger, equal, smaller
    - ``counts_won``, ``counts_tied``, ``counts_lost``: label counts where it beats the other, neither beats the other,
      the other beats it; see dal.analysis.penalty.wins
    """
    areas = {f.name: areas_of(f) for f in problem.functions}
    matrix, count = wins(problem)
    rows = []
    for i, j in combinations(range(len(problem.names)), 2):
        one, other = problem.names[i], problem.names[j]
        row: dict[str, object] = {"problem": problem.name, "function": one, "other": other}
        known = len(problem.labels) > 1
        apart = paired_differences(areas[one], areas[other]) if known else np.zeros(0)
        row["difference"], row["difference_interval"] = (
            _difference(areas[one], areas[other]) if known else (np.nan, np.nan)
        )
        row["p_value"] = float(paired_p_values(areas[one], areas[other])) if known else np.nan
        row |= {
            "seeds_won": int((apart > 0).sum()),
            "seeds_tied": int((apart == 0).sum()),
            "seeds_lost": int((apart < 0).sum()),
            "counts_won": int(matrix[i, j]),
            "counts_tied": count - int(matrix[i, j] + matrix[j, i]),
            "counts_lost": int(matrix[j, i]),
        }
        rows.append(row)
    table = pd.DataFrame(rows)
    table.insert(list(table).index("p_value") + 1, "p_holm", holm(table["p_value"].to_numpy(np.float64)))
    return table


def _difference(a: Floats, b: Floats) -> tuple[float, float]:
    return paired_difference(a.tolist(), b.tolist())


def _interval(name: str, values: Floats) -> dict[str, float]:
    mean, half = (float(values[0]), np.nan) if np.isnan(values).any() else map(float, mean_and_interval(values))
    return {name: mean, f"{name}_interval": half}
