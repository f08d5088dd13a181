"""Stability of the network from round to round: change of weights, similarity of outputs, and churn.

Similarity (CKA) moves without a change of the function (arXiv:2210.16156), so it is shown and not judged.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from dal.analysis.diagnosis.finding import Detected, Finding, few_rounds
from dal.analysis.diagnosis.history import Floats, History
from dal.analysis.diagnosis.thresholds import FROZEN_CHANGE, JUMP_FIRST_ROUND, JUMP_LEVEL, JUMP_RATIO
from dal.runs.wilson import wilson_interval

KEY = "stability"
TITLE = "Stability of the network"


def detect(history: History) -> Detected:
    """Find layers that jump in one round, and layers that never change.

    A jump is a change of more than ``JUMP_RATIO`` times that of each of the two rounds before and after, with a churn
    above the binomial limit of the other rounds' churn.
    """
    churn = churn_of(history)
    layers = _layers(history)
    tables = {"layers": layers, "churn": churn}
    rounds = sorted(layers.loc[layers["change"].notna(), "round"].unique()) if len(layers) else []
    method = (
        f"A jump is a relative change above {JUMP_RATIO:g} times that of the same layer in each of the two rounds "
        f"before and after, from round {JUMP_FIRST_ROUND} on, with a churn above the "
        f"{100 * (1 - JUMP_LEVEL):g} % binomial limit of the median churn. A layer is frozen in effect if it changes "
        f"by less than {FROZEN_CHANGE:g} in each round."
    )
    if len(rounds) < 3:
        quiet = (
            f"Whether a layer jumped cannot be told: that needs 3 rounds that go on from the weights of the round "
            f"before, and the records have {len(rounds)}."
        )
        # Rounds that start from new weights would not tell either, however many there are.
        is_young = history.num_rounds < 4 and "scratch" not in history.starts[1:]
        lack = few_rounds(history.num_rounds, 4) if is_young else None
        return Detected(KEY, TITLE, (), quiet, method, unknown=True, tables=tables, lack=lack)
    findings = (*_jumps(layers, churn), *_frozen(layers))
    quiet = "" if findings else f"No layer jumped or stood still in {len(rounds)} rounds."
    return Detected(KEY, TITLE, findings, quiet, method, tables=tables)


def churn_of(history: History) -> pd.DataFrame:
    """Return the share of predictions that changed from the round before, with 95 % limits and Cohen's kappa.

    The predictions are those of the stop set, or those of the test set if there is no stop set.
    """
    rows = []
    stop = history.stop_predicted
    has_stop = sum(predicted is not None for predicted in stop) > 1
    for number in range(1, history.num_rounds):
        if has_stop:
            before, now = stop[number - 1], stop[number]
            if before is None or now is None or len(before) != len(now):
                continue
        else:
            both = history.tested[number - 1] & history.tested[number]
            before, now = history.test_predicted[number - 1, both], history.test_predicted[number, both]
        if not len(now):
            continue
        changed = int((before != now).sum())
        low, high = wilson_interval(changed, len(now))
        kappa = _kappa(before, now)
        rows.append((number, "stop" if has_stop else "test", len(now), changed, changed / len(now), low, high, kappa))
    return pd.DataFrame(rows, columns=["round", "of", "points", "changed", "share", "low", "high", "kappa"])


def _kappa(before: np.ndarray, now: np.ndarray) -> float:
    classes = int(max(before.max(), now.max())) + 1
    shares = [np.bincount(predicted, minlength=classes) / len(predicted) for predicted in (before, now)]
    by_chance = float(shares[0] @ shares[1])
    agreed = float((before == now).mean())
    return 1.0 if by_chance == 1 else (agreed - by_chance) / (1 - by_chance)


def _layers(history: History) -> pd.DataFrame:
    rows = [
        (
            number,
            at,
            name,
            float(of.norm[at]),
            float(of.change[at]),
            float(of.cka[at]),
            float(of.rank[at]),
            of.width[at],
        )
        for number, of in enumerate(history.layers)
        if of is not None
        for at, name in enumerate(of.names)
    ]
    return pd.DataFrame(rows, columns=["round", "depth", "layer", "norm", "change", "cka", "rank", "width"])


def _jumps(layers: pd.DataFrame, churn: pd.DataFrame) -> list[Finding]:
    found = []
    known = layers.dropna(subset=["change"])
    for depth in sorted(known["depth"].unique().tolist()):
        of_layer = known[known["depth"] == depth]
        changes = of_layer["change"].to_numpy()
        for at, (number, change) in enumerate(zip(of_layer["round"], changes, strict=True)):
            near = np.delete(changes[max(at - 2, 0) : at + 3], min(at, 2))
            usual = float(near.max()) if len(near) else 0.0
            if number >= JUMP_FIRST_ROUND and change > JUMP_RATIO * usual > 0 and _churns(churn, number):
                found.append((change / usual, int(number), depth, str(of_layer["layer"].iloc[at]), float(change)))
    findings = []
    for number in sorted({one[1] for one in found}):
        # All layers above a new one move to follow it, so the one that moved most by its own measure is named.
        ratio, _, depth, name, change = max(one for one in found if one[1] == number)
        share = float(churn.loc[churn["round"] == number, "share"].iloc[0])
        others = sum(one[1] == number for one in found) - 1
        more = f" ({others} other layer{'' if others == 1 else 's'} jumped too)" * bool(others)
        sentence = (
            f"In round {number}, the weights of layer {name} changed by {100 * change:.0f} % of their norm. That is "
            f"{ratio:.1f} times as much as in any of the two rounds before and after{more}. In the same round, "
            f"{100 * share:.1f} % of the predictions changed."
        )
        numbers: dict[str, float | int | str] = {"layer": name, "depth": depth, "change": change}
        numbers |= {"ratio": float(ratio), "churn": share}
        findings.append(Finding(KEY, sentence, weight=1 + min(float(ratio), 10) / 10, round=number, numbers=numbers))
    return findings


def _churns(churn: pd.DataFrame, number: int) -> bool:
    """Return whether the churn of a round is above the binomial limit of a usual round."""
    own = churn["round"] == number
    if not own.any() or own.all():
        return False
    usual = float(churn.loc[~own, "share"].median())
    changed, points = (int(churn.loc[own, name].iloc[0]) for name in ("changed", "points"))
    return bool(stats.binom.sf(changed - 1, points, max(usual, 1 / points)) < JUMP_LEVEL)


def _frozen(layers: pd.DataFrame) -> list[Finding]:
    known = layers.dropna(subset=["change"])
    most: pd.Series = known.groupby("depth")["change"].max()
    still = [int(str(depth)) for depth in most.index[most < FROZEN_CHANGE]]
    if not still:
        return []
    names = [str(known.loc[known["depth"] == depth, "layer"].iloc[0]) for depth in still]
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    layer = f"Layer {listed}" if len(names) == 1 else f"{len(names)} layers ({listed})"
    rounds = known["round"].nunique()
    sentence = (
        f"{layer} changed by less than {FROZEN_CHANGE:g} of {'its' if len(names) == 1 else 'their'} norm in each of "
        f"{rounds} rounds."
    )
    return [Finding(KEY, sentence, weight=0.0, numbers={"layers": len(names), "rounds": rounds})]


def effective_rank(values: Floats) -> float:
    """Return exp of the entropy of the normalized singular values (arXiv:2210.02885).

    values: (n, d). A matrix of zeros has rank 0.

    >>> round(effective_rank(np.eye(4)), 6)
    4.0
    """
    singular = np.linalg.svd(np.asarray(values, dtype=np.float64), compute_uv=False)
    total = float(singular.sum())
    if total == 0:
        return 0.0
    shares = singular[singular > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))
