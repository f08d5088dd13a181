"""Onset of overfitting within a round: from which update the held-out loss rises.

The update with the least loss is chosen on one half of the held-out points and judged on the other half. The best of
many checks is too good on the points that choose it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from dal.analysis.diagnosis.finding import Detected, Finding, Lack
from dal.analysis.diagnosis.history import Checks, Floats, History
from dal.analysis.diagnosis.thresholds import ONSET_ALPHA, ONSET_LEAST_POINTS
from dal.analysis.statistics.mcnemar import exact_mcnemar

KEY = "onset"
TITLE = "Onset of overfitting"
NO_CHECKS = (
    "Whether training overfits within a round cannot be told: no round was checked while it trained. Set "
    "diagnosis.checks=10 in the next run."
)


class Onset(NamedTuple):
    """What the checks of one round say."""

    round: int
    update: float
    """Mean of the best updates of the two halves."""
    last: int
    nats: float
    """Rise of the held-out loss from the best check to the end, over the halves that did not choose it."""
    p: float
    """The larger of the two one-sided p-values."""
    accuracy_at: float
    accuracy_end: float
    p_accuracy: float


def detect(history: History) -> Detected:
    """Find rounds in which the held-out loss rises significantly before training ends.

    The t test of each half is one-sided. Both halves must reach ``ONSET_ALPHA``, divided by the number of rounds.
    """
    checked = [(number, checks) for number, checks in enumerate(history.checks) if checks is not None]
    method = (
        f"Cross-fitted halves of the held-out points, one-sided t tests at {ONSET_ALPHA:g} in both halves, divided by "
        f"{max(len(checked), 1)} rounds."
    )
    tables = {"checks": _curves(checked)}
    usable = [(n, c) for n, c in checked if len(c.updates) > 1 and c.held_out_loss.shape[1] >= ONSET_LEAST_POINTS]
    if not usable:
        quiet, lack = NO_CHECKS, Lack("no checks during training, set diagnosis.checks")
        if checked:
            points = max(checks.held_out_loss.shape[1] for _, checks in checked)
            lack = Lack("too few held-out points", points, ONSET_LEAST_POINTS)
            quiet = (
                f"Whether training overfits within a round cannot be told: it has {points} held-out points and needs "
                f"{ONSET_LEAST_POINTS}, with at least two checks."
            )
        return Detected(KEY, TITLE, (), quiet, method, unknown=True, tables=tables, lack=lack)
    onsets = [onset_of(number, checks) for number, checks in usable]
    tables["onsets"] = pd.DataFrame(onsets, columns=Onset._fields)
    level = ONSET_ALPHA / len(usable)
    called = [onset for onset in onsets if onset.p < level and onset.nats > 0]
    if not called:
        quiet = f"No overfitting within a round was seen in {len(usable)} rounds with checks."
        return Detected(KEY, TITLE, (), quiet, method, tables=tables)
    return Detected(KEY, TITLE, (_finding(called, len(usable)),), "", method, tables=tables)


def onset_of(number: int, checks: Checks) -> Onset:
    """Return where the held-out loss is least, and how much it rises after that."""
    loss, right = checks.held_out_loss, checks.held_out_right
    halves = [np.arange(loss.shape[1]) % 2 == side for side in (0, 1)]
    best = [int(np.argmin(loss[:, half].mean(axis=1))) for half in halves]
    rises = [loss[-1, other] - loss[at, other] for at, other in zip(best, reversed(halves), strict=True)]
    at = round(float(np.mean(best)))
    lost = int((right[at] & ~right[-1]).sum())
    gained = int((~right[at] & right[-1]).sum())
    return Onset(
        number,
        float(np.mean([checks.updates[place] for place in best])),
        int(checks.updates[-1]),
        float(np.mean(np.concatenate(rises))),
        max(_p_of_rise(rise) for rise in rises),
        float(right[at].mean()),
        float(right[-1].mean()),
        float(exact_mcnemar(lost, gained)),
    )


def _p_of_rise(rise: Floats) -> float:
    """Return the one-sided p-value of a mean above 0."""
    if not rise.any():
        return 1.0
    spread = float(rise.std(ddof=1))
    if spread == 0:
        return 0.0 if rise[0] > 0 else 1.0
    return float(stats.t.sf(rise.mean() / (spread / len(rise) ** 0.5), len(rise) - 1))


def _finding(called: list[Onset], looks: int) -> Finding:
    last = max(called, key=lambda onset: onset.round)
    fell = last.accuracy_end < last.accuracy_at
    accuracy = (
        f"accuracy fell from {100 * last.accuracy_at:.1f} to {100 * last.accuracy_end:.1f} % "
        f"(p = {last.p_accuracy:.2g})"
        if fell
        else f"accuracy did not fall ({100 * last.accuracy_at:.1f} and {100 * last.accuracy_end:.1f} %)"
    )
    sentence = (
        f"In round {last.round}, the held-out loss rose by {last.nats:.2f} nats after update {last.update:,.0f} of "
        f"{last.last:,} (in both halves of the points, p = {last.p:.2g}), and {accuracy}. This was seen in "
        f"{len(called)} of {looks} round{'' if looks == 1 else 's'} with checks."
    )
    return Finding(KEY, sentence, weight=1 + last.nats, round=last.round, numbers=last._asdict())


def _curves(checked: list[tuple[int, Checks]]) -> pd.DataFrame:
    rows = [
        {
            "round": number,
            "update": int(update),
            "labeled_loss": float(checks.labeled_loss[at].mean()) if checks.labeled_loss.size else np.nan,
            "labeled_accuracy": float(checks.labeled_right[at].mean()) if checks.labeled_right.size else np.nan,
            "held_out_loss": float(checks.held_out_loss[at].mean()) if checks.held_out_loss.size else np.nan,
            "held_out_accuracy": float(checks.held_out_right[at].mean()) if checks.held_out_right.size else np.nan,
            "held_out_of": checks.held_out_of,
        }
        for number, checks in checked
        for at, update in enumerate(checks.updates)
    ]
    names = ["round", "update", "labeled_loss", "labeled_accuracy", "held_out_loss", "held_out_accuracy", "held_out_of"]
    return pd.DataFrame(rows, columns=names)
