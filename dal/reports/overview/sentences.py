"""Sentences about the costs of reaching a target."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from dal.analysis.axis import UNITS, noun
from dal.analysis.grouping import group_runs
from dal.runs.reader import Run
from dal.runs.round import in_words

_MANY = 1e9  # labels; a larger forecast is not printed as a number


def target_sentences(summary: pd.DataFrame) -> list[str]:
    """Return a sentence per row of summarize_runs that has a target.

    >>> line = {"data": "digits", "acquisition": "margin", "settings": "", "labels": 300, "currency": "USD",
    ...         "target": 0.95, "labels_to_target": 812.0, "labels_to_target_low": 640.0,
    ...         "labels_to_target_high": math.inf, "money_to_target": 81.2, "money_to_target_low": 64.0,
    ...         "money_to_target_high": math.inf, "forecast": True}
    >>> print(target_sentences(pd.DataFrame([line]))[0])
    digits, margin: 95 % is forecast for 812 labels (95 % interval: 640 to never) and 81.20 USD (64.00 to never).
    """
    return [_sentence(line) for _, line in summary.iterrows() if not math.isnan(line["target"])]


def unknown_sentences(runs: Iterable[Run], axis: str = UNITS) -> list[str]:
    """Return a sentence per group of runs whose accuracy is not known.

    It also says what is known without labels: how far the last two models agree on the stop set.
    """
    sentences = []
    for group in group_runs(runs, untested=True, axis=axis):
        if group.is_tested:
            continue
        name = ", ".join(filter(None, [group.data, group.acquisition, group.settings]))
        last, rounds = f"{group.labels[-1]:,} {noun(group.axis)}", len(group.labels)
        extent = f"{rounds} round{'s' if rounds > 1 else ''}, {last}"
        shares = [share for run in group.runs if (share := _agreement(run)) is not None]
        agree = f" The last two models agree on {np.mean(shares):.1%} of the stop set." if shares else ""
        sentences.append(
            f"{name}: the {in_words(group.metric)} is not known, because the run has no test set ({extent}).{agree}"
        )
    return sentences


def _agreement(run: Run) -> float | None:
    """Return the share of the stop set on which the last two models agree, or None."""
    one, *others = (np.asarray(row.get("stop_predictions") or []) for row in run.rows[-2:])
    if not others or not len(one) or one.shape != others[0].shape:
        return None
    return float((one == others[0]).mean())


def _sentence(line: pd.Series) -> str:
    name = ", ".join(filter(None, [line["data"], line["acquisition"], line["settings"]]))
    labels, low, high = (float(line[f"labels_to_target{end}"]) for end in ("", "_low", "_high"))
    what = noun(str(line.get("axis", UNITS)))
    start = f"{name}: {100 * line['target']:g} %"
    if math.isnan(labels):
        return f"{start} was not reached, and two rounds or fewer allow no forecast."
    if math.isinf(labels):
        early = "" if math.isinf(low) else f" (95 % interval: {_count(low)} {what} to never)"
        return f"{start} is not reached by this curve{early}."
    beyond = "never" if line["forecast"] else f"more than {_count(line['labels'])}"
    interval = "" if math.isnan(low) else f" (95 % interval: {_count(low)} to {_count(high, beyond)})"
    verb = "is forecast for" if line["forecast"] else "was reached with"
    return f"{start} {verb} {_count(labels)} {what}{interval}{_money(line, beyond)}."


def _money(line: pd.Series, beyond: str) -> str:
    money, low, high = (float(line[f"money_to_target{end}"]) for end in ("", "_low", "_high"))
    if math.isnan(money):
        return ""
    if math.isinf(high) and beyond != "never":
        beyond = "more"
    end = beyond if math.isinf(high) else f"{high:,.2f}"
    interval = "" if math.isnan(low) else f" ({low:,.2f} to {end})"
    return f" and {money:,.2f} {line['currency']}{interval}"


def _count(labels: float, beyond: str = "") -> str:
    if math.isinf(labels):
        return beyond
    return "more than a billion" if labels > _MANY else f"{math.ceil(labels):,}"
