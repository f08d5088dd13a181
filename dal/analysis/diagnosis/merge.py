"""Pairs of classes that the model does not tell apart, and what the accuracy would be if they were one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dal.analysis.diagnosis.finding import FEW_TEST_IMAGES, NO_TEST, Detected, Finding, Lack, few_rounds
from dal.analysis.diagnosis.history import History, Ints
from dal.analysis.diagnosis.pairs import (
    FEW_LABELS,
    FEW_TESTS,
    FLAGGED,
    NEW,
    NO_NEW_LABELS,
    REVERSED,
    SEPARABLE,
    UNFITTED,
    UNKNOWN_FIT,
    Pair,
    pairs_of_round,
    quantile,
    rounds_looked_at,
)
from dal.analysis.diagnosis.thresholds import (
    CONFUSED_SHARE,
    MERGE_AUC,
    MERGE_FIT,
    MERGE_LABELS,
    MERGE_MOST_PAIRS,
    MERGE_ROUNDS,
    MERGE_STEP,
    MERGE_TESTED,
)
from dal.analysis.diagnosis.words import counted, listed, percent

KEY = "merge"
TITLE = "Classes to merge"

MERGE, CONFUSED, OPEN, APART = "merge", "confused, but separable", "cannot be told", ""
MOST_POINTS = 12
MOST_CURVES = 12

Look = dict[tuple[int, int], Pair]

REASONS = {
    REVERSED: "The model tells them apart, but with the classes exchanged",
    FEW_TESTS: f"Fewer than {MERGE_TESTED} test images of one",
    FEW_LABELS: f"Fewer than {MERGE_LABELS} labels of one",
    NO_NEW_LABELS: f"Not both gained labels in the last {MERGE_STEP} rounds",
    UNKNOWN_FIT: "It is not recorded whether the network fits the labels of the other classes",
    UNFITTED: f"The network does not fit the labels of the other classes to {percent(MERGE_FIT)}: see its capacity",
    NEW: f"Not yet so {MERGE_STEP} rounds before",
}


def detect(history: History) -> Detected:
    """Find pairs that a look flagged and that the last look still does not tell apart."""
    rounds = rounds_looked_at(history)
    if not rounds:
        return _unknown("Without predictions of a test set, it cannot be told which classes are alike.", NO_TEST)
    if history.num_classes < 3:
        return _unknown(
            "With two classes there is no third one whose labels show that the network can fit what it is told.", None
        )
    looks: list[Look] = []
    for round in rounds:
        looks.append(pairs_of_round(history, round, looks[-1] if looks else {}))
    last = looks[-1]
    tables = {"pairs": _pairs(history, last, looks), "pair_curves": _curves(last, looks)}
    if len(looks) < 2:
        return _unknown(
            f"{counted(len(history.recorded), 'round')} with test predictions cannot show that two classes stay alike: "
            f"{MERGE_STEP + 1} are needed.",
            few_rounds(len(history.recorded), MERGE_STEP + 1),
            tables,
        )
    if not last:
        return _unknown("No two classes have test images with probabilities.", None, tables)
    flagged = [pair for pair in last.values() if _since(pair, looks) is not None]
    kept = [pair for pair in last.values() if pair.guard not in (FLAGGED, SEPARABLE) and pair not in flagged]
    few = [pair for pair in last.values() if min(pair.tested) < MERGE_TESTED]
    findings = [_finding(history, pair, looks) for pair in flagged]
    quiet = f"No two classes are alike for this network, of {counted(len(last), 'pair')} that were looked at."
    if len(few) == len(last):
        quiet = f"Too few test images to say: at least {MERGE_TESTED} of both classes are needed."
    elif few:
        quiet += f" Of {len(few)} of them, one class has fewer than {MERGE_TESTED} test images, too few to say."
    return Detected(
        KEY,
        TITLE,
        tuple(sorted(findings, key=lambda finding: -finding.weight)),
        quiet,
        _method(history, last),
        unknown=len(few) == len(last) and not findings,
        silenced=_silenced(history, kept),
        tables=tables,
        lack=FEW_TEST_IMAGES if len(few) == len(last) else None,
    )


def _unknown(reason: str, lack: Lack | None, tables: dict[str, pd.DataFrame] | None = None) -> Detected:
    method = "The AUC of the difference of two classes' logits, on their test images."
    return Detected(KEY, TITLE, (), reason, method, unknown=True, tables=tables or {}, lack=lack)


def _since(pair: Pair, looks: Sequence[Look]) -> int | None:
    """Return the first round that flagged a pair, if the last look does not tell it apart either."""
    if not 0.5 <= pair.high < MERGE_AUC or min(pair.tested) < MERGE_TESTED:
        return None
    return next((seen[pair.a, pair.b].round for seen in looks if _flagged(seen.get((pair.a, pair.b)))), None)


def _flagged(pair: Pair | None) -> bool:
    return pair is not None and pair.guard == FLAGGED


def _finding(history: History, pair: Pair, looks: Sequence[Look]) -> Finding:
    names = f"{history.classes[pair.a]} and {history.classes[pair.b]}"
    tested = history.tested[pair.round]
    total = int(tested.sum())
    accuracy = int(history.right[pair.round].sum()) / total
    merged = accuracy + pair.confused / total
    since = _since(pair, looks)
    # The guards held when the pair was flagged, and its fit may be of that round.
    first = next(seen[pair.a, pair.b] for seen in looks if _flagged(seen.get((pair.a, pair.b))))
    fit = pair.fit if pair.fit >= MERGE_FIT else first.fit
    sentence = (
        f"This network does not tell {names} apart (AUC {pair.auc:.2f}, at most {pair.high:.2f}, on {pair.tested[0]} "
        f"and {pair.tested[1]} test images; {counted(len(looks[-1]), 'pair')} were looked at; since round {since}), "
        f"though both gained labels and it fits its labels otherwise ({percent(fit)}). Either the images do not "
        "differ, or the labels do not, or it needs a better network or larger images. If they were one class, the "
        f"accuracy of round {pair.round} would be {percent(merged)} in place of {percent(accuracy)}."
    )
    numbers: dict[str, float | int | str] = {
        "auc": pair.auc,
        "high": pair.high,
        "confused": pair.confused,
        "accuracy": accuracy,
        "accuracy_merged": merged,
    }
    points = tuple(int(place) for place in _confused_points(history, pair)[:MOST_POINTS])
    return Finding(KEY, sentence, 1.5 + pair.confused / total, (pair.a, pair.b), since, points, numbers)


def _confused_points(history: History, pair: Pair) -> Ints:
    label, predicted = history.test_label, history.test_predicted[pair.round]
    confused = ((label == pair.a) & (predicted == pair.b)) | ((label == pair.b) & (predicted == pair.a))
    return np.flatnonzero(confused)


def _pairs(history: History, last: Look, looks: Sequence[Look]) -> pd.DataFrame:
    rows = []
    for pair in last.values():
        total = int(history.tested[pair.round].sum())
        accuracy = int(history.right[pair.round].sum()) / total
        since = _since(pair, looks)
        rows.append(
            {
                "class_a": pair.a,
                "class_b": pair.b,
                "round": pair.round,
                "auc": pair.auc,
                "error": pair.error,
                "low": pair.low,
                "high": pair.high,
                "tested_a": pair.tested[0],
                "tested_b": pair.tested[1],
                "labels_a": pair.labels[0],
                "labels_b": pair.labels[1],
                "confused": pair.confused,
                "accuracy": accuracy,
                "accuracy_merged": accuracy + pair.confused / total,
                "fit": pair.fit,
                "guard": pair.guard if since is None else FLAGGED,
                "since": since,
                "verdict": _verdict(pair, since),
            }
        )
    table = pd.DataFrame(rows)
    return table.sort_values("auc", ignore_index=True, kind="stable") if rows else table


def _verdict(pair: Pair, since: int | None) -> str:
    if since is not None:
        return MERGE
    if pair.confused < CONFUSED_SHARE * sum(pair.tested):
        return APART
    return CONFUSED if pair.low > 0.5 and min(pair.tested) >= MERGE_TESTED else OPEN


def _curves(last: Look, looks: Sequence[Look]) -> pd.DataFrame:
    """Return the AUC by round of the pairs with the lowest AUC in the last look."""
    shown = sorted(last.values(), key=lambda pair: pair.auc)[:MOST_CURVES]
    rows = [
        (pair.a, pair.b, seen.round, seen.auc, seen.low, seen.high)
        for pair in shown
        for look in looks
        if (seen := look.get((pair.a, pair.b))) is not None
    ]
    return pd.DataFrame(rows, columns=["class_a", "class_b", "round", "auc", "low", "high"])


def _silenced(history: History, kept: Sequence[Pair]) -> tuple[str, ...]:
    said = []
    for guard, reason in REASONS.items():
        pairs = [f"{history.classes[p.a]} with {history.classes[p.b]}" for p in kept if p.guard == guard]
        if pairs:
            said.append(f"{reason}: {listed(pairs)}.")
    return tuple(said)


def _method(history: History, last: Look) -> str:
    num = history.num_classes * (history.num_classes - 1) // 2
    selected = f" (those with a confusion, of {num:,})" if num > MERGE_MOST_PAIRS else ""
    return (
        f"AUC of the difference of two classes' logits, as means of {MERGE_ROUNDS} rounds, with DeLong's error; "
        f"{counted(len(last), 'pair')}{selected}, every {MERGE_STEP} rounds. Flagged: an upper limit (AUC + "
        f"{quantile(history.num_classes):.2f} errors) below {MERGE_AUC}, in two looks in a row, both with at least "
        f"{MERGE_LABELS} labels and new ones in the last {MERGE_STEP} rounds, and at least {percent(MERGE_FIT)} of the "
        "labels of the other classes fitted; and still so at the last look. With 25 test images of a class, only AUCs "
        "below about 0.7 are seen."
    )
