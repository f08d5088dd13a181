"""Classes that the pool has run out of: the confusion matrix inverted on the predictions of the pool."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from dal.analysis.diagnosis.confusion import counts_of
from dal.analysis.diagnosis.finding import NO_TEST, Detected, Finding, Lack, few_rounds
from dal.analysis.diagnosis.history import Floats, History
from dal.analysis.diagnosis.thresholds import (
    RAN_OUT_LEVEL,
    RAN_OUT_OF_EQUAL,
    RAN_OUT_RECALL,
    RAN_OUT_SHARE,
)
from dal.analysis.diagnosis.words import counted, listed, percent
from dal.analysis.statistics.label_shift import DRAWS, share_draws, share_limits
from dal.analysis.statistics.proportions import wilson_lower

KEY = "ran_out"
TITLE = "Classes that the pool has run out of"

RAN_OUT, FEW, UNKNOWN, NONE = "ran out", "few", "unknown", ""
COLUMNS = ["round", "class", "share", "low", "high", "predicted_share", "claim"]


def detect(history: History) -> Detected:
    """Bound the share of each class in the pool of each round.

    A claim needs an upper limit below least_share(), a recall that is known well enough, and a pool that is large
    enough. The pool ran out of a class if a label of it was bought before.
    """
    looked = [round for round in range(history.num_rounds) if _pool(history, round) is not None]
    if not looked:
        reason = "Without predictions of the pool, it cannot be told which classes it has run out of."
        # The first round chooses nothing, so it has no predictions of the pool.
        return _unknown(reason, few_rounds(1, 2) if history.num_rounds == 1 else Lack("no predictions of the pool"))
    table = pool_table(history)
    if not len(history.recorded):
        reason = "Without a test set only the shares of predictions are known, not those of the classes."
        return _unknown(reason, NO_TEST, {"pool": table})
    last = looked[-1]
    latest = table[table["round"] == last]
    spans = {number: span for number in range(history.num_classes) if (span := _claimed(history, table, number))}
    findings = [_finding(history, table, number, span, looked) for number, span in spans.items()]
    unknown = [int(number) for number in latest.loc[latest["claim"] == UNKNOWN, "class"]]
    reason = _why_unknown(history, last, unknown)
    none_known = len(unknown) == history.num_classes
    limit = percent(least_share(history.num_classes))
    quiet = f"In round {last}, no class that can be judged is seen to be below {limit} of the pool."
    is_open = (
        (latest["claim"] == NONE)
        & ~latest["class"].isin(list(spans))
        & (latest["low"] < least_share(history.num_classes))
    )
    if is_open.any():
        names = listed([history.classes[int(number)] for number in latest.loc[is_open, "class"]])
        quiet += f" The limits leave it open for {names}."
    return Detected(
        KEY,
        TITLE,
        tuple(sorted(findings, key=lambda finding: -finding.weight)),
        reason if none_known else f"{quiet} {reason}".rstrip(),
        f"The confusion matrix of the test set, inverted on the predictions of the pool (BBSE), with {DRAWS} draws of "
        f"both. A claim needs a one-sided upper {percent(RAN_OUT_LEVEL)} limit below {limit} and a lower limit of "
        f"recall of {percent(RAN_OUT_RECALL)}; {history.num_classes} classes were looked at in "
        f"{counted(len(looked), 'round')}, each limit on its own.",
        unknown=none_known and not findings,
        silenced=(reason,) if reason and findings else (),
        tables={"pool": table},
        lack=_few_points(history, last) if none_known else None,
    )


def least_share(num_classes: int) -> float:
    """Return the share of the pool below which a class is called gone.

    >>> least_share(10), least_share(100)
    (0.02, 0.002)
    """
    return min(RAN_OUT_SHARE, RAN_OUT_OF_EQUAL / num_classes)


def least_points(num_classes: int) -> int:
    """Return the number of points that show such a share: without one of the class, its upper 95 % limit is this share.

    >>> least_points(10)
    149
    """
    return math.ceil(math.log(1 - RAN_OUT_LEVEL) / math.log1p(-least_share(num_classes)))


def pool_table(history: History) -> pd.DataFrame:
    """Return shares and claims of each round and class: round, class, share, low, high, predicted_share, claim.

    The shares are NaN where they cannot be told. A claim is ``ran out``, ``few`` (no label of the class was bought),
    ``unknown``, or empty.
    """
    rows = [pool_shares(history, round) for round in range(history.num_rounds) if _pool(history, round) is not None]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=COLUMNS)


def _pool(history: History, round: int) -> Floats | None:
    """Return the (C,) counts of predictions on the pool, or None without any."""
    pool = history.pool[round] if round < len(history.pool) else None
    if pool is None or pool.counts.sum() <= 0:
        return None
    # The model of an earlier round may know fewer classes.
    counts = np.zeros(history.num_classes)
    counts[: len(pool.counts)] = pool.counts
    return counts


def pool_shares(history: History, round: int) -> pd.DataFrame:
    """Return the rows of pool_table() of a round that has predictions of the pool."""
    counts, num = _pool(history, round), history.num_classes
    assert counts is not None
    share = low = high = np.full(num, np.nan)
    claim = [UNKNOWN if len(history.recorded) else NONE] * num
    # The predictions are those of the model before the round.
    if round and history.tested[round - 1].any():
        confusion = counts_of(history, round - 1)
        draws = share_draws(confusion, counts, np.random.default_rng([0, round]))
        low, high = share_limits(draws, RAN_OUT_LEVEL)
        share = np.clip(np.median(draws, axis=0), 0.0, 1.0)
        known = _recall_low(history, round - 1) >= RAN_OUT_RECALL
        if counts.sum() >= least_points(num):
            bought = history.new_labels[:round].sum(axis=0) > 0
            claim = [
                UNKNOWN if not known[k] else NONE if high[k] >= least_share(num) else RAN_OUT if bought[k] else FEW
                for k in range(num)
            ]
    values = (share, low, high, counts / counts.sum(), claim)
    return pd.DataFrame({"round": round, "class": np.arange(num)} | dict(zip(COLUMNS[2:], values, strict=True)))


def _recall_low(history: History, round: int) -> Floats:
    confusion = counts_of(history, round)
    return wilson_lower(np.diag(confusion), confusion.sum(axis=1))


def _claimed(history: History, table: pd.DataFrame, number: int) -> tuple[int, int] | None:
    """Return the first and the last look that claim a class is gone, without a look that contradicts them later.

    A pool only shrinks, so a claim holds in later looks that cannot tell, such as those of a model that forgot the
    class. A single claim counts in the last look only.
    """
    rows = table[table["class"] == number]
    claimed: list[int] = []
    for round, low, claim in zip(rows["round"], rows["low"], rows["claim"], strict=True):
        if claim in (RAN_OUT, FEW):
            claimed.append(int(round))
        elif claim == NONE and low >= least_share(history.num_classes):
            claimed = []
    last = int(rows["round"].iloc[-1])
    return (claimed[0], claimed[-1]) if len(claimed) > 1 or claimed == [last] else None


def _finding(history: History, table: pd.DataFrame, number: int, span: tuple[int, int], looked: list[int]) -> Finding:
    since, last = span
    name = history.classes[number]
    high = float(table.loc[(table["class"] == number) & (table["round"] == last), "high"].to_numpy()[0])
    labels = history.new_labels[:, number]
    bought = np.flatnonzero(labels)
    pool = "the pool" if last == looked[-1] else f"the pool of round {last}"
    most = f"at most {max(math.ceil(1000 * high), 1) / 10:.1f} % of {pool}"
    when = "since the first look, that of" if since == looked[0] else "since"
    end = f"is {name} ({when} round {since}; upper {percent(RAN_OUT_LEVEL)} limit, each class and round on its own)."
    if not len(bought):
        sentence = f"No label of {name} was bought, and {most} {end}"
    elif bought[-1] < looked[-1]:
        sentence = f"No label of {name} was bought after round {bought[-1]}, and {most} {end}"
    else:
        sentence = f"{most[0].upper()}{most[1:]} {end} {counted(int(labels.sum()), 'label')} of it were bought."
    if labels.sum() == 1:
        sentence = sentence.replace("of it were bought", "of it was bought")
    if last < looked[-1]:
        sentence += " Later rounds cannot tell."
    numbers = {"high": high, "since": since, "round": last, "labels": int(labels.sum())}
    return Finding(KEY, sentence, 1.2, (number,), since, numbers=numbers)


def _why_unknown(history: History, round: int, numbers: list[int]) -> str:
    if not numbers:
        return ""
    counts = _pool(history, round)
    assert counts is not None
    if not round or not history.tested[round - 1].any():
        return f"The round before round {round} has no test predictions, so its pool cannot be judged."
    if counts.sum() < least_points(history.num_classes):
        needed, share = least_points(history.num_classes), percent(least_share(history.num_classes))
        points = counted(int(counts.sum()), "point")
        return f"{points} of the pool are too few to say: {needed:,} are needed for a share of {share}."
    names = listed([history.classes[number] for number in numbers])
    return (
        f"It cannot be told for {names}: on the test set, the lower 95 % limit of the recall is below "
        f"{percent(RAN_OUT_RECALL)}."
    )


def _few_points(history: History, round: int) -> Lack | None:
    counts, needed = _pool(history, round), least_points(history.num_classes)
    assert counts is not None
    is_few = round and history.tested[round - 1].any() and counts.sum() < needed
    return Lack("too few points in the pool", int(counts.sum()), needed) if is_few else None


def _unknown(reason: str, lack: Lack, tables: dict[str, pd.DataFrame] | None = None) -> Detected:
    method = "The confusion matrix of the test set, inverted on the predictions of the pool (BBSE)."
    return Detected(KEY, TITLE, (), reason, method, unknown=True, tables=tables or {}, lack=lack)
