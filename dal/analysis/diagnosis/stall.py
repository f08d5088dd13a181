"""Classes that stay worse than the others while the run buys labels of other classes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dal.analysis.diagnosis.finding import NO_TEST, Detected, Finding, Lack, few_rounds
from dal.analysis.diagnosis.history import History
from dal.analysis.diagnosis.ran_out import FEW, RAN_OUT, least_share, pool_table
from dal.analysis.diagnosis.thresholds import (
    STALL_ALPHA,
    STALL_ERROR,
    STALL_GAIN,
    STALL_GROWTH,
    STALL_LEAST,
    STALL_ROUNDS,
)
from dal.analysis.diagnosis.words import counted, listed, p_value, percent
from dal.analysis.statistics.mcnemar import exact_mcnemar
from dal.analysis.statistics.proportions import paired_change, wilson_lower

KEY = "stall"
TITLE = "Classes that stall"
METHOD = (
    f"Over {STALL_ROUNDS} rounds: the labels of the run grew by at least {percent(STALL_GROWTH)}, none of them of the "
    f"class; its error, by Wilson's one-sided lower 95 % limit, is more than {STALL_ERROR} times that of the median "
    f"class, and at least {percent(STALL_LEAST)}; and the one-sided upper 95 % limit of its gain on the same test "
    f"images is below {percent(STALL_GAIN)}. Each class is looked at on its own."
)
COLUMNS = [
    "round", "since", "class", "tested", "error", "error_low", "median_error", "gain", "gain_high", "p", "growth",
    "new_labels", "stalled",
]  # fmt: skip


def detect(history: History) -> Detected:
    """Look for classes without new labels that did not improve over STALL_ROUNDS rounds."""
    if not len(history.recorded):
        return _unknown("Without predictions of a test set, it cannot be told which classes stall.", NO_TEST)
    spans = _spans(history)
    if not spans:
        needed = counted(STALL_ROUNDS + 1, "round")
        reason = f"{needed} in a row with test predictions are needed to see a stall."
        there = len(history.recorded)
        in_a_row = Lack("too few rounds in a row")
        return _unknown(reason, few_rounds(there, STALL_ROUNDS + 1) if there <= STALL_ROUNDS else in_a_row)
    table = pd.concat([_of_span(history, since, round) for since, round in spans], ignore_index=True)
    latest = table[table["round"] == spans[-1][1]]
    rows = [{str(name): value for name, value in row.items()} for row in latest.to_dict("records")]
    findings = [_finding(history, row, len(rows)) for row in rows if row["stalled"]]
    candidates = [row for row in rows if _lags(row) and not row["stalled"]]
    open_ones = [history.classes[int(row["class"])] for row in candidates if row["p"] >= STALL_ALPHA]
    silenced: tuple[str, ...] = ()
    if open_ones:
        silenced = (
            f"{listed(open_ones)}: worse than the median class and without new labels, but too few test images to rule "
            f"out a gain of {percent(STALL_GAIN)}.",
        )
    nothing = f"No class stalls in rounds {spans[-1][0]} to {spans[-1][1]}, of the {len(rows)} with test images."
    # An unproven stall is not a proof that there is none.
    unknown = bool(open_ones) and not findings
    quiet = f"It cannot be told for {silenced[0]}" if unknown else nothing
    return Detected(
        KEY, TITLE, tuple(findings), quiet, METHOD, unknown=unknown, silenced=silenced, tables={"stall": table}
    )


def _unknown(reason: str, lack: Lack) -> Detected:
    return Detected(KEY, TITLE, (), reason, METHOD, unknown=True, lack=lack)


def _spans(history: History) -> list[tuple[int, int]]:
    tested = set(history.recorded.tolist())
    return [(round - STALL_ROUNDS, round) for round in sorted(tested) if round - STALL_ROUNDS in tested]


def _of_span(history: History, since: int, round: int) -> pd.DataFrame:
    common = history.tested[since] & history.tested[round]
    num = history.num_classes
    label = history.test_label[common]
    before, after = history.right[since, common], history.right[round, common]

    tested = np.bincount(label, minlength=num)
    known = np.flatnonzero(tested)
    gains, losses, wrong = (
        np.bincount(label[which], minlength=num)[known] for which in (after & ~before, before & ~after, ~after)
    )
    tested = tested[known]
    error = wrong / tested
    start = int(history.labels_bought[since])
    table = pd.DataFrame(
        {
            "round": round,
            "since": since,
            "class": known,
            "tested": tested,
            "error": error,
            "error_low": wilson_lower(wrong, tested),
            "median_error": np.median(error) if len(error) else np.nan,
            "gain": (gains - losses) / tested,
            "gain_high": paired_change(gains, losses, tested)[1],
            "p": exact_mcnemar(gains, losses),
            "growth": (int(history.labels_bought[round]) - start) / max(start, 1),
            "new_labels": history.new_labels[since + 1 : round + 1, known].sum(axis=0),
        }
    )
    lags = [_lags({str(name): value for name, value in row.items()}) for row in table.to_dict("records")]
    flat = (table["gain_high"] < STALL_GAIN) & (table["p"] >= STALL_ALPHA)
    return table.assign(stalled=np.array(lags, dtype=np.bool_) & flat)[COLUMNS]


def _lags(row: dict[str, float]) -> bool:
    """Return whether a class is worse than the others and got none of the new labels."""
    return bool(
        row["growth"] >= STALL_GROWTH
        and row["new_labels"] == 0
        and row["error"] >= STALL_LEAST
        and row["error_low"] > STALL_ERROR * row["median_error"]
    )


def _finding(history: History, row: dict[str, float], looks: int) -> Finding:
    number, since, round = int(row["class"]), int(row["since"]), int(row["round"])
    name = history.classes[number]
    pool = pool_table(history)
    here = pool[(pool["class"] == number) & (pool["round"] == round) & pool["claim"].isin([RAN_OUT, FEW])]
    reason = f", and less than {percent(least_share(history.num_classes))} of the pool is {name}" if len(here) else ""
    images = counted(int(row["tested"]), "test image")
    labels = counted(int(history.labels_bought[round] - history.labels_bought[since]), "new label")
    sentence = (
        f"{name} has not improved from round {since} to {round}: {percent(row['error'])} of its {images} are wrong, "
        f"against {percent(row['median_error'])} of the median class, and the gain is at most "
        f"{percent(max(row['gain_high'], 0.0))} (upper 95 % limit; exact test of a gain: {p_value(row['p'])}; "
        f"{counted(looks, 'class', 'classes')} were looked at). None of the {labels} is of {name}{reason}."
    )
    numbers = {key: row[key] for key in ("error", "median_error", "gain", "gain_high", "p", "growth")}
    return Finding(KEY, sentence, 1.0 + row["error"] / 2, (number,), round, numbers=numbers)
