"""Whether the network is too narrow for its labels, or has layers that add nothing to a linear readout.

Only a training of another network is proof. The signs here say whether that is worth its cost.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from dal.analysis.diagnosis.finding import (
    NO_FEATURES,
    Detected,
    Finding,
    Reason,
    few_labels,
    few_rounds,
)
from dal.analysis.diagnosis.history import Checks, Floats, History, LastFeatures, Trained
from dal.analysis.diagnosis.stability import effective_rank
from dal.analysis.diagnosis.thresholds import (
    DEEP_GAIN,
    DEEP_LAYERS,
    DEEP_LEAST_POINTS,
    DEEP_LEVEL,
    FLAT_SLOPE,
    NARROW_ERRORS,
    NARROW_FIT,
    NARROW_LEAST_LABELS,
    NARROW_RANK,
    NARROW_ROUNDS,
)
from dal.analysis.statistics.proportions import paired_change

KEY = "capacity"
TITLE = "Capacity of the network"


def detect(history: History) -> Detected:
    """Find signs that the network is too narrow or has a tail of layers that add nothing."""
    fit, probes = fit_by_round(history), probes_by_depth(history)
    tables = {"fit": fit, "probes": probes.drop(columns="right")}
    method = (
        f"Too narrow: in each of the last {NARROW_ROUNDS} rounds, accuracy below {NARROW_FIT:g} on labels that "
        f"{NARROW_ROUNDS} rounds or more trained on, and features with an effective rank (arXiv:2210.02885) above "
        f"{NARROW_RANK:g} of their number. Added layers: a ridge readout of a layer's outputs, and for each later "
        f"layer a one-sided {100 * (1 - DEEP_LEVEL):g} % upper limit of its gain below {100 * DEEP_GAIN:g} points."
    )
    findings, open_questions, silenced = [], [], []
    narrow, why_not, kept_back = _narrow(history, fit)
    findings += narrow
    open_questions += why_not
    silenced += kept_back
    deep, why_not = _deep(probes)
    findings += deep
    open_questions += why_not
    quiet = ""
    if not findings:
        quiet = (
            " ".join(one.sentence for one in open_questions)
            or "No sign that the network is too narrow or too deep was seen."
        )
    unknown = not findings and bool(open_questions)
    lack = open_questions[0].lack if unknown else None
    return Detected(KEY, TITLE, tuple(findings), quiet, method, unknown, tuple(silenced), tables, lack)


def fit_by_round(history: History) -> pd.DataFrame:
    """Return the accuracy on labeled points by round, and on those that at least NARROW_ROUNDS rounds trained on."""
    rows = []
    for number, trained in enumerate(history.trained):
        if trained is None or not len(trained.label):
            continue
        right = trained.predicted == trained.label
        old = trained.bought <= number - NARROW_ROUNDS + 1
        of_old = float(right[old].mean()) if old.any() else np.nan
        rows.append((number, len(right), float(right.mean()), int(old.sum()), of_old))
    return pd.DataFrame(rows, columns=["round", "labels", "accuracy", "old_labels", "old_accuracy"])


def _narrow(history: History, fit: pd.DataFrame) -> tuple[list[Finding], list[Reason], list[str]]:
    """Return findings, what cannot be told, and what a guard kept back."""
    features = history.features
    last = fit.tail(NARROW_ROUNDS)
    if features is None or features.test.shape[0] + features.labeled.shape[0] < NARROW_LEAST_LABELS:
        reason = "Whether it is too narrow cannot be told: the run keeps no features of the last layer."
        return [], [Reason(reason, NO_FEATURES)], []
    if len(last) < NARROW_ROUNDS or last["old_labels"].iloc[-1] < NARROW_LEAST_LABELS:
        needed = f"{NARROW_LEAST_LABELS} labels that {NARROW_ROUNDS} rounds trained on are needed"
        old = 0 if last.empty else int(last["old_labels"].iloc[-1])
        lack = (
            few_rounds(len(last), NARROW_ROUNDS) if len(last) < NARROW_ROUNDS else few_labels(old, NARROW_LEAST_LABELS)
        )
        return [], [Reason(f"Whether it is too narrow cannot be told yet: {needed}.", lack)], []
    rows = features.test if len(features.test) else features.labeled
    rank, width = effective_rank(rows), rows.shape[1]
    share = rank / min(rows.shape)
    worst = float(last["old_accuracy"].max())
    if worst >= NARROW_FIT:
        return [], [], []
    accuracy = float(last["old_accuracy"].iloc[-1])
    seen = f"it predicts {100 * accuracy:.0f} % of the labels that it trained on for {NARROW_ROUNDS} rounds or more"
    if share <= NARROW_RANK:
        return [], [], [f"Too narrow: {seen}, but its features use only {100 * share:.0f} % of {width} dimensions."]
    if (blamed := _wrong_labels(history, 1 - accuracy)) is not None:
        return [], [], [f"Too narrow: {seen}, but {blamed}."]
    if (checks := _last_checks(history)) is not None and not is_flat(checks):
        return [], [], [f"Too narrow: {seen}, but the loss still falls at the end of the round."]
    sentence = (
        f"The network does not fit its own labels: {seen} (in each of the last {NARROW_ROUNDS} rounds less than "
        f"{100 * NARROW_FIT:.0f} %), and its features use {100 * share:.0f} % of their {width} dimensions. A network "
        "of twice the width, trained on the same labels, would tell."
    )
    numbers = {"accuracy": accuracy, "effective_rank": rank, "width": width, "share": share}
    return [Finding(KEY, sentence, weight=2 - accuracy, numbers=numbers)], [], []


def _wrong_labels(history: History, error: float) -> str | None:
    """Return what speaks for wrong labels rather than for a narrow network, or None."""
    if len(history.recorded):
        last = history.recorded[-1]
        of_test = 1 - float(history.right[last].sum() / history.tested[last].sum())
        if error > NARROW_ERRORS * of_test:
            return f"it has only {100 * of_test:.0f} % errors on the test set, so that the labels may be wrong"
        return None
    trained: Trained | None = next((one for one in reversed(history.trained) if one is not None), None)
    if trained is None or not len(trained.label):
        return None
    sure = float(((trained.predicted != trained.label) & (trained.log_prob < np.log(0.1))).mean())
    return f"{100 * sure:.0f} % of the labels contradict a sure model" if sure >= 0.05 else None


def _last_checks(history: History) -> Checks | None:
    last = next((one for one in reversed(history.checks) if one is not None), None)
    return last if last is not None and len(last.updates) >= 6 and last.labeled_loss.size else None


def is_flat(checks: Checks) -> bool:
    """Return whether the labeled loss falls by less than FLAT_SLOPE in 100 updates, over the last third of the checks.

    The 95 % upper limit of the slope must be below it.
    """
    start = 2 * len(checks.updates) // 3
    updates = checks.updates[start:].astype(np.float64)
    if len(updates) < 3:
        start, updates = len(checks.updates) - 3, checks.updates[-3:].astype(np.float64)
    loss = checks.labeled_loss[start:].mean(axis=1)
    if np.ptp(loss) == 0:  # SciPy returns NaN
        return True
    line = stats.linregress(updates, loss)
    steepest = line.slope - stats.t.ppf(0.975, len(updates) - 2) * line.stderr
    return bool(-steepest * 100 < FLAT_SLOPE * max(float(loss.mean()), 1e-12))


def probes_by_depth(history: History) -> pd.DataFrame:
    """Return the test accuracy of a ridge readout of each layer, and the pairs that differ from each later layer.

    Columns ``right`` hold the (u,) results, for paired tests.
    """
    features = history.features
    names = ["depth", "layer", "points", "accuracy", "right"]
    last = next((one for one in reversed(history.trained) if one is not None), None)
    if features is None or last is None or not len(features.layer_position) or not len(features.layer_labeled_row):
        return pd.DataFrame(columns=names)
    label, test_label = last.label[features.layer_labeled_row], history.test_label[features.layer_position]
    if len(np.unique(label)) < 2:
        return pd.DataFrame(columns=names)
    rows = []
    for depth, name in enumerate(features.layer_names):
        right = _readout(features, depth, label) == test_label
        rows.append((depth, name, len(right), float(right.mean()), right))
    return pd.DataFrame(rows, columns=names)


def _readout(features: LastFeatures, depth: int, label: np.ndarray) -> np.ndarray:
    """Return the classes that a ridge readout of a layer predicts for the test points."""
    from sklearn.linear_model import RidgeClassifierCV  # loads slowly

    train: Floats = np.asarray(features.layer_labeled[depth], dtype=np.float64)
    test: Floats = np.asarray(features.layer_test[depth], dtype=np.float64)
    mean, spread = train.mean(axis=0), train.std(axis=0)
    spread[spread == 0] = 1.0
    model = RidgeClassifierCV(alphas=np.logspace(-2, 4, 7)).fit((train - mean) / spread, label)
    return np.asarray(model.predict((test - mean) / spread))


def _deep(probes: pd.DataFrame) -> tuple[list[Finding], list[Reason]]:
    """Return a finding if at least DEEP_LAYERS layers follow one after which a readout gains nothing."""
    # The last layer gives the logits and cannot be left out.
    hidden = probes.iloc[:-1]
    if probes.empty or hidden["points"].max() < DEEP_LEAST_POINTS:
        needed = f"outputs of layers on {DEEP_LEAST_POINTS} test points are needed"
        return [], [Reason(f"Whether layers add nothing cannot be told: {needed}.")]
    pairs = len(hidden) * (len(hidden) - 1) // 2
    for at in range(len(hidden) - DEEP_LAYERS):
        limits = [gain_limit(hidden["right"].iloc[at], later, DEEP_LEVEL) for later in hidden["right"].iloc[at + 1 :]]
        if max(limits) < DEEP_GAIN:
            return [_tail(hidden, at, max(limits), pairs)], []
    return [], []


def gain_limit(before: np.ndarray, after: np.ndarray, alpha: float) -> float:
    """Return the upper limit of the gain in accuracy between two results on the same points, at one-sided alpha."""
    gains, losses = int((~before & after).sum()), int((before & ~after).sum())
    return float(paired_change(gains, losses, len(before), 1 - alpha)[1])


def _tail(hidden: pd.DataFrame, at: int, limit: float, pairs: int) -> Finding:
    tail = hidden["layer"].iloc[at + 1 :].tolist()
    name, accuracy, points = (hidden[key].iloc[at] for key in ("layer", "accuracy", "points"))
    sentence = (
        f"After layer {name}, a linear readout gains nothing: it predicts {100 * accuracy:.1f} % of {points} test "
        f"points there, and at most {100 * limit:.1f} points more at any of the {len(tail)} later layers ({tail[0]} to "
        f"{tail[-1]}; {pairs} pairs of layers were looked at). This does not say that the later layers can go: only a "
        "training without them would."
    )
    numbers: dict[str, float | int | str] = {
        "layer": str(name),
        "accuracy": float(accuracy),
        "limit": limit,
        "later_layers": len(tail),
    }
    return Finding(KEY, sentence, weight=0.5 + 0.01 * len(tail), numbers=numbers)
