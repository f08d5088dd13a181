"""Tables of a comparison as text, for all formats."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dal.analysis.axis import UNITS, noun
from dal.analysis.comparison import Comparison
from dal.analysis.pairing import Problem
from dal.analysis.penalty import column_means
from dal.analysis.summary import BASELINE
from dal.runs.round import in_words

_DASH = "–"


@dataclass(frozen=True)
class Table:
    """A table of text.

    The first ``names`` columns are left-aligned names; the others are right-aligned numbers. ``heat`` has the shape of
    the numbers: from 0 to 1 for shaded cells, NaN elsewhere.
    """

    key: str  # "functions", "targets", "pairs", "penalty" or "ranks"
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str
    names: int = 1
    heat: tuple[tuple[float, ...], ...] = ()
    problem: str = ""  # its name; "" if the table covers all problems


def tables_of(comparison: Comparison, most_pairs: int | None = None) -> list[Table]:
    """Return the tables of each problem, then those over all problems.

    Each problem has tables of functions, targets and pairs. The tables over all problems are the penalty matrix and,
    for several data sets, the ranks. If a problem has more than ``most_pairs`` pairs, its table shows only pairs with
    the baseline (none without a baseline), and the caption states this.
    """
    tables = []
    for problem in comparison.problems:
        tables += [
            _functions(problem, _of(comparison.functions, problem), comparison.baseline),
            _targets(problem, _of(comparison.targets, problem), comparison.baseline),
            _pairs(problem, _of(comparison.pairs, problem), comparison.baseline, most_pairs),
        ]
    tables.append(_penalty(comparison))
    # For a single data set, the first table already shows the ranks.
    if comparison.ranks is not None and len(comparison.problems) > 1:
        tables.append(_ranks(comparison))
    return tables


def findings(comparison: Comparison) -> list[str]:
    """Return one sentence per problem about significant differences from the baseline.

    The differences are those of the area. Tests use Holm's correction at 5 %. A problem with one seed has no sentence.
    Without a baseline, the only sentence reports that.
    """
    if comparison.baseline is None:
        return [f"No baseline: {BASELINE!r} is not in all problems. Choose one with --baseline."]
    sentences = []
    for problem in comparison.problems:
        lines = _of(comparison.functions, problem)
        lines = lines[lines["p_holm"].notna()]
        if not len(lines):
            continue
        sure = lines["p_holm"] < 0.05
        parts = [
            (lines[sure & (lines["difference"] > 0)], "significantly above"),
            (lines[sure & (lines["difference"] < 0)], "significantly below"),
            (lines[~sure], "not significantly different from"),
        ]
        said = [
            f"{_named(list(names['function']), len(lines))} {'is' if len(names) == 1 else 'are'} {how} "
            f"{comparison.baseline}"
            for names, how in parts
            if len(names)
        ]
        sentences.append(
            f"{problem.name}, {_seeds(problem)}, {_span(problem)}, area: {'; '.join(said)} (paired t, Holm, 5 %)."
        )
    return sentences


def _functions(problem: Problem, lines: pd.DataFrame, baseline: str | None) -> Table:
    header = [
        "function",
        f"{in_words(problem.metric)} with {_shown(problem, -1)}, %",
        "area, %",
        f"area over log {noun(problem.axis)}, %",
    ]
    if baseline:
        header += [f"area minus {baseline}, points", "p", "p, Holm"]
    rows = []
    for _, line in lines.iterrows():
        row = [line["function"], *(_percent(line, name) for name in (problem.metric, "area", "log_area"))]
        if baseline:
            row += [_percent(line, "difference", "+"), _p(line["p_value"]), _p(line["p_holm"])]
        rows.append(tuple(row))
    caption = (
        f"{_seeds(problem)}, {_span(problem)}. Means over seeds ± half the width of their 95 % t interval. Area: mean "
        f"test {in_words(problem.metric)} along the curve, over the {noun(problem.axis)} and over their logarithm, "
        "which weighs each doubling equally."
    )
    if baseline:
        caption += (
            f" p: two-sided paired t-test of the areas against {baseline}; Holm: over all functions of this table."
        )
    return Table(
        "functions",
        f"{problem.name}: area under the budget curve",
        tuple(header),
        tuple(rows),
        caption,
        problem=problem.name,
    )


def _targets(problem: Problem, lines: pd.DataFrame, baseline: str | None) -> Table:
    goals = list(dict.fromkeys(zip(lines["target"], lines["rule"], strict=True)))
    header, what = ["function"], noun(problem.axis)
    for target, _ in goals:
        header.append(f"{what} to {100 * target:.4g} %")
        if baseline:
            header.append(f"{'label' if problem.axis == UNITS else what} efficiency at {100 * target:.4g} %")
    rows = []
    for name in problem.names:
        row = [name]
        for target, _ in goals:
            (_, line), *_ = lines[(lines["function"] == name) & (lines["target"] == target)].iterrows()
            row.append(_range(line, "labels", problem))
            if baseline:
                row.append(_DASH if name == baseline else _efficiency(line, problem.labels[-1]))
        rows.append(tuple(row))
    chosen = [f"{100 * target:.4g} % is the {rule}" for target, rule in goals if rule != "given"]
    caption = (
        f"{'; '.join(chosen)}. " if chosen else ""
    ) + f"{what.capitalize()}: where the mean curve first reaches the target (95 % bootstrap interval over seeds)"
    caption += ", which applies the rule for the target to each resample." if chosen else "."
    if baseline:
        caption += (
            f" {'Label efficiency' if problem.axis == UNITS else 'Efficiency'}: {what} that {baseline} needs over "
            f"{what} that the function needs, so 2 is half the {what}. Never: not within {_shown(problem, -1)}. More "
            f"than (>): {baseline} does not reach it."
        )
    title = f"{problem.name}: {what} to reach {'a target' if len(goals) == 1 else 'targets'}"
    return Table("targets", title, tuple(header), tuple(rows), caption, problem=problem.name)


def _pairs(problem: Problem, lines: pd.DataFrame, baseline: str | None, most: int | None) -> Table:
    count, note = len(lines), ""
    if most is not None and count > most:
        with_baseline = (lines["function"] == baseline) | (lines["other"] == baseline)
        lines, note = lines[with_baseline], f" {int(with_baseline.sum())} of {count} pairs; all are in pairs.csv."
    rows = [
        (
            line["function"],
            line["other"],
            _percent(line, "difference", "+"),
            _p(line["p_value"]),
            _p(line["p_holm"]),
            " / ".join(str(line[f"seeds_{end}"]) for end in ("won", "tied", "lost")),
            " / ".join(str(line[f"counts_{end}"]) for end in ("won", "tied", "lost")),
        )
        for _, line in lines.iterrows()
    ]
    caption = (
        "Difference of the areas, seed by seed, ± half the width of its 95 % t interval; "
        "p: two-sided paired t-test; Holm: over "
        f"{_count(count, 'pair')}. Seeds: where the area of the first is larger, equal, smaller. Label counts, except "
        "the initial set: where the first beats the other (paired t, two-sided 5 %, not corrected), neither does, the "
        "other beats it."
    )
    header = ("function", "against", "difference of area, points", "p", "p, Holm", "seeds W/T/L", "counts W/T/L")
    return Table("pairs", f"{problem.name}: pairs", header, tuple(rows), caption + note, names=2, problem=problem.name)


def _penalty(comparison: Comparison) -> Table:
    table = comparison.penalty
    names, values = list(table.index), table.to_numpy(np.float64)
    means = column_means(table)
    rows = [
        (f"{i + 1} {name}", *(_DASH if i == j else f"{value:.2f}" for j, value in enumerate(values[i])))
        for i, name in enumerate(names)
    ]
    rows.append(("mean of the column", *(f"{means[name]:.2f}" for name in names)))
    most = len(comparison.problems)
    heat = [[math.nan if i == j else v / most for j, v in enumerate(row)] for i, row in enumerate(values)]
    heat.append([math.nan] * len(names))
    caption = (
        "Row i, column j: the fraction of label counts, except the initial set, at which the function of the row beats "
        "that of the column (paired t over seeds, two-sided 5 %, not corrected), summed over "
        f"{_count(most, 'data set')}, so at most {most}. The mean of a column, with 0 on the diagonal: how often "
        "its function is beaten, so lower is better (arXiv:1906.03671)."
    )
    left_out = sorted({n for p in comparison.problems for n in p.names} - set(names))
    if left_out:
        caption += f" Not included, because missing on some data sets: {_list(left_out)}."
    header = ("beats", *(str(i + 1) for i in range(len(names))))
    return Table("penalty", "Pairwise penalty matrix", header, tuple(rows), caption, heat=tuple(map(tuple, heat)))


def _ranks(comparison: Comparison) -> Table:
    ranks, names = comparison.ranks, comparison.ranked
    assert ranks is not None
    order = np.argsort(ranks.mean, kind="stable")
    tested = not math.isnan(ranks.p_value)
    best = int(order[0])
    header = ["function", "mean rank", *(problem.name for problem in comparison.problems)]
    if tested:
        header.append(f"p, Nemenyi, against {names[best]}")
    rows = []
    for i in order:
        row = [names[i], f"{ranks.mean[i]:.2f}", *(f"{rank:g}" for rank in ranks.ranks[:, i])]
        if tested:
            row.append(_DASH if i == best else _p(float(ranks.nemenyi[best, i])))
        rows.append(tuple(row))
    caption = f"Ranks by mean area on {_count(len(comparison.problems), 'data set')}, 1 is the best."
    if tested:
        caption += (
            f" Friedman: chi-square {ranks.statistic:.2f}, p {_p(ranks.p_value)}. Nemenyi: mean ranks that differ by "
            f"{ranks.critical_difference:.2f} or more are significantly different at 5 %; all pairs are in ranks.csv."
        )
    if ranks.note:
        caption += f" {ranks.note[0].upper()}{ranks.note[1:]}."
    return Table("ranks", "Mean ranks over data sets", tuple(header), tuple(rows), caption)


def _of(table: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    return table[table["problem"] == problem.name]


def _seeds(problem: Problem) -> str:
    return _count(len(problem.seeds), "seed")


def _span(problem: Problem) -> str:
    return f"{problem.labels[0]:,.0f} to {_shown(problem, -1)}"


def _shown(problem: Problem, place: int) -> str:
    return f"{problem.labels[place]:,.0f} {noun(problem.axis)}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _named(names: list[str], of: int) -> str:
    return f"all {of} others" if len(names) == of > 2 else _list(names)


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _percent(line: pd.Series, column: str, sign: str = "") -> str:
    """Format a percentage and half the width of its interval, if known."""
    value, half_width = line[column], line[f"{column}_interval"]
    if math.isnan(value):
        return _DASH
    mean = f"{100 * value:{sign}.1f}"
    return mean if math.isnan(half_width) else f"{mean} ± {100 * half_width:.1f}"


def _p(value: float) -> str:
    """Format a p-value.

    >>> _p(0.0004), _p(0.0123), _p(0.05011), _p(float("nan"))
    ('<0.001', '0.012', '0.0501', '–')
    """
    if math.isnan(value):
        return _DASH
    if value < 0.001:
        return "<0.001"
    # Four decimals show whether the value is above or below 5 %.
    return f"{value:.4f}" if f"{value:.3f}" == "0.050" else f"{value:.3f}"


def _range(line: pd.Series, column: str, problem: Problem) -> str:
    value, low, high = (line[f"{column}{end}"] for end in ("", "_low", "_high"))
    first = problem.labels[0]
    text = _labels(value, first)
    return text if math.isnan(low) or math.isinf(low) else f"{text} ({_labels(low, first)} to {_labels(high, first)})"


def _labels(value: float, first: float) -> str:
    if math.isinf(value):
        return "never"
    return f"≤ {first:,.0f}" if value <= first else f"{math.ceil(value - 1e-6):,}"


def _efficiency(line: pd.Series, last: int) -> str:
    value, low, high = (line[f"efficiency{end}"] for end in ("", "_low", "_high"))
    if math.isnan(value):
        return "neither reaches it"
    # A baseline that does not reach the target needs more labels than it had.
    text = f"> {last / line['labels']:.2f}" if math.isinf(value) else _times(value)
    certain = math.isnan(low) or low == high
    return text if certain else f"{text} ({_times(low)} to {_times(high)})"


def _times(value: float) -> str:
    return "never" if value == 0 else "∞" if math.isinf(value) else f"{value:.2f}"
