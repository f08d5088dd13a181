"""Which labels and classes were forgotten."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dal.analysis.diagnosis.finding import NO_TEST, Detected, Finding, Lack, few_rounds
from dal.analysis.diagnosis.history import History, Ints
from dal.analysis.diagnosis.readout import last_trained
from dal.analysis.diagnosis.thresholds import (
    DATA_MAP_ROUNDS,
    FORGETTING_ALPHA,
    FORGETTING_LEAST,
    LEARNED_RECALL,
    REFERENCE_ROUNDS,
)
from dal.analysis.diagnosis.trajectories import trajectories
from dal.analysis.diagnosis.words import counted, p_value
from dal.analysis.statistics.mcnemar import exact_mcnemar
from dal.analysis.statistics.proportions import wilson_lower

KEY = "forgetting"
TITLE = "Forgotten labels and classes"
CLOCK = (
    "The clock is rounds: a label is forgotten if the model at the end of a round predicts its class and the model at "
    "the end of the next round does not."
)
_CLASS_COLUMNS = ["class", "reference", "reference_round", "final", "forgetting", "learned", "backward_transfer", "p"]


def detect(history: History) -> Detected:
    """Count forgetting events of labels, and compare the recall of classes with that of earlier rounds.

    Events of labels are a ranking of images to look at. A finding is a class whose test images are right in the
    majority of some REFERENCE_ROUNDS rounds and wrong in each of the last two: exact McNemar, over classes and rounds.
    """
    points = _points(history)
    classes, findings, looks = _classes(history)
    tables = {"points": points, "classes": classes}
    if points.empty and classes.empty:
        reason = "The run has no record of its labels over the rounds, and too few rounds with a test set."
        return Detected(KEY, TITLE, (), reason, CLOCK, unknown=True, tables=tables, lack=_lack(history))
    transfer = classes["backward_transfer"].mean()
    said = []
    if looks:
        said.append(f"No class ended worse than it was, of {classes['class'].nunique()}.")
    else:
        said.append("Whether a class was forgotten cannot be told: there are too few rounds with a test set.")
    if not points.empty:
        forgotten, never = int((points["events"] > 0).sum()), int((points["kind"] == "never learned").sum())
        said.append(
            f"Of {counted(len(points), 'label')}, {forgotten} were forgotten at least once and {never} were never "
            "learned."
        )
    method = (
        f"{CLOCK} Mean probability and its standard deviation over rounds need {DATA_MAP_ROUNDS} rounds of a label. "
        f"Classes: recall in the majority of {REFERENCE_ROUNDS} rounds against the last two rounds, exact McNemar "
        f"tests at {FORGETTING_ALPHA:.0%} over {looks} looks."
    )
    if not np.isnan(transfer):
        method += f" Mean backward transfer since a class was learned: {100 * transfer:+.1f} points."
    lack = None if looks else _lack(history)
    return Detected(KEY, TITLE, tuple(findings), " ".join(said), method, unknown=not looks, tables=tables, lack=lack)


def _lack(history: History) -> Lack | None:
    there, needed = len(history.recorded), REFERENCE_ROUNDS + 2
    if not there:
        return NO_TEST
    return few_rounds(there, needed) if there < needed else None


def _points(history: History) -> pd.DataFrame:
    """Return one row per label, those to look at first: never learned, then the most often forgotten."""
    columns = ["index", "id", "label", "events", "mean_p", "sd_p", "correctness", "rounds", "kind", "recent", "aum"]
    if last_trained(history) is None:
        return pd.DataFrame({name: [] for name in columns})
    seen = trajectories(history)
    learned = seen.right.any(axis=0)
    kinds = np.where(~learned, "never learned", np.where(seen.events > 0, "forgotten", "unforgettable"))
    table = pd.DataFrame(
        {
            "index": seen.trained.index,
            "id": [history.train_ids.get(int(index), str(int(index))) for index in seen.trained.index],
            "label": seen.trained.label,
            "events": seen.events,
            "mean_p": seen.mean,
            "sd_p": np.sqrt(np.nansum((seen.probability - seen.mean) ** 2, axis=0) / seen.counts),
            "correctness": seen.right.sum(axis=0) / seen.counts,
            "rounds": seen.counts,
            "kind": kinds,
            "recent": seen.counts < DATA_MAP_ROUNDS,
            "aum": np.nansum(seen.margin, axis=0) / seen.counts,
        },
        columns=columns,
    )
    table["_order"] = np.where(learned, table["events"], len(seen.rounds) + 1)
    table = table.sort_values(["_order", "mean_p", "index"], ascending=[False, True, True], ignore_index=True)
    return table.drop(columns="_order")


def _classes(history: History) -> tuple[pd.DataFrame, list[Finding], int]:
    """Return the classes with their forgetting and backward transfer, the findings, and the number of tests."""
    rounds = history.recorded
    # Points that a round did not test, such as those bought later, have no majority.
    position = np.flatnonzero(history.tested[rounds].all(axis=0)) if len(rounds) else np.empty(0, np.int64)
    windows = len(rounds) - REFERENCE_ROUNDS - 1
    numbers = np.unique(history.test_label[position])
    if windows < 1 or not len(numbers):
        return pd.DataFrame({name: [] for name in _CLASS_COLUMNS}), [], 0
    looks = len(numbers) * windows
    rows, findings = [], []
    for number in numbers:
        of_class = position[history.test_label[position] == number]
        right = history.right[rounds][:, of_class]
        majority = np.stack([right[t : t + REFERENCE_ROUNDS].mean(axis=0) > 0.5 for t in range(windows)])
        t = int(majority.mean(axis=1).argmax())
        lost, gained = majority[t] & ~right[-2:], ~majority[t] & right[-2:]
        p = exact_mcnemar(lost.sum(axis=1), gained.sum(axis=1))
        drop = majority[t].mean() - right[-2:].mean(axis=1)
        learned = _learned(right)
        final = right[-1].mean()
        rows.append(
            (
                int(number),
                majority[t].mean(),
                int(rounds[t + REFERENCE_ROUNDS - 1]),
                final,
                majority[t].mean() - final,
                int(rounds[learned]) if learned is not None else -1,
                final - right[learned].mean() if learned is not None else np.nan,
                float(p.max()),
            )
        )
        if p.max() < FORGETTING_ALPHA / looks and drop.min() >= FORGETTING_LEAST:
            span = int(rounds[t]), int(rounds[t + REFERENCE_ROUNDS - 1])
            points = of_class[lost.all(axis=0)]
            counts = int(lost[-1].sum()), int(gained[-1].sum())
            findings.append(_finding(history, int(number), span, counts, points, (len(of_class), float(p[-1]), looks)))
    return pd.DataFrame(rows, columns=_CLASS_COLUMNS), sorted(findings, key=lambda f: -f.weight), looks


def _learned(right: np.ndarray) -> int | None:
    """Return the first of two rows in a row with Wilson's lower limit of recall at LEARNED_RECALL."""
    good = wilson_lower(right.sum(axis=1), right.shape[1]) >= LEARNED_RECALL
    both = np.flatnonzero(good[:-1] & good[1:])
    return int(both[0]) if len(both) else None


def _finding(
    history: History,
    number: int,
    span: tuple[int, int],
    counts: tuple[int, int],
    points: Ints,
    test: tuple[int, float, int],
) -> Finding:
    total, p, looks = test
    gained = "none" if not counts[1] else str(counts[1])
    sentence = (
        f"At the end, the model gets {counts[0]} of the {counted(total, 'test image')} of {history.classes[number]} "
        f"wrong that it had right in most of rounds {span[0]} to {span[1]}, and {gained} the other way ({p_value(p)}; "
        f"{looks} were looked at). Retraining on the same labels may give another picture."
    )
    drop = (counts[0] - counts[1]) / total
    numbers = {"losses": counts[0], "gains": counts[1], "compared": total, "p": p, "looks": looks}
    return Finding(
        KEY,
        sentence,
        1.0 + drop,
        (number,),
        int(history.recorded[-1]),
        tuple(int(point) for point in points[:12]),
        numbers,
    )
