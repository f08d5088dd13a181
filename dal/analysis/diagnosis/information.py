"""How many bits the labels of each round told."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from dal.analysis.diagnosis.finding import Detected, Finding, few_rounds
from dal.analysis.diagnosis.history import Floats, History, Trained
from dal.analysis.diagnosis.thresholds import CALIBRATION_BINS, SATURATED_LABELS, SATURATED_SURPRISE
from dal.analysis.diagnosis.words import counted

KEY = "information"
TITLE = "What the labels told"
_BITS = 1 / math.log(2)


def detect(history: History) -> Detected:
    """Measure the surprise of new labels, what training on them gained, and the gain on the test set.

    A finding says that the last two queries told little: their surprise is below SATURATED_SURPRISE of a guess among
    the classes, by more than chance.
    """
    surprise = {
        number: _surprise(record)
        for number, record in enumerate(history.trained)
        if record is not None and len(_surprise(record))
    }
    bits, test = _bits_table(history), _test_table(history)
    tables = {"bits": bits, "test": test}
    method = (
        "Surprise: -log2 of the probability of a label before the model trained on it. Gain: what training added to "
        f"its log2. A guess among {history.num_classes} classes is {math.log2(max(history.num_classes, 1)):.2f} bits. "
        "On the test set: bits that an image gained per label. Bits compare rounds of one run, where predictions are "
        f"calibrated: the expected calibration error has {CALIBRATION_BINS} bins."
    )
    if not surprise:
        reason = "No round has a record of its labels from before training, so their surprise cannot be told."
        lack = few_rounds(1, 2) if history.num_rounds == 1 else None
        return Detected(KEY, TITLE, (), reason, method, unknown=True, tables=tables, lack=lack)
    first, last = min(surprise), max(surprise)
    quiet = (
        f"The labels still told something: {surprise[first].mean():.2f} bits each in round {first} and "
        f"{surprise[last].mean():.2f} in round {last}."
    )
    if first == last:
        quiet = f"The labels of round {first} told {surprise[first].mean():.2f} bits each."
    found = _saturated(history, surprise, test)
    return Detected(KEY, TITLE, (found,) if found else (), quiet, method, tables=tables)


def _surprise(record: Trained) -> Floats:
    """Return the bits of the labels that are new in a round."""
    return -record.before[~np.isnan(record.before)] * _BITS


def _bits_table(history: History) -> pd.DataFrame:
    """Return mean surprise and gain by round and class, in bits."""
    frames = []
    for number, record in enumerate(history.trained):
        if record is None:
            continue
        new = ~np.isnan(record.before)
        frame = pd.DataFrame(
            {
                "round": number,
                "class": record.label[new],
                "labels": 1,
                "surprise": -record.before[new] * _BITS,
                "gain": (record.log_prob[new] - record.before[new]) * _BITS,
            }
        )
        frames.append(frame)
    columns = ["round", "class", "labels", "surprise", "gain"]
    if not frames:
        return pd.DataFrame({name: [] for name in columns})
    groups = pd.concat(frames).groupby(["round", "class"], as_index=False)
    return groups.agg({"labels": "sum", "surprise": "mean", "gain": "mean"})[columns]


def _test_table(history: History) -> pd.DataFrame:
    """Return the bits that a test image gained per label of a round, the loss in bits, and the calibration error."""
    rows = []
    before: tuple[int, Floats] | None = None
    for number in history.recorded:
        own = history.test_log_prob[number, np.arange(len(history.test_label)), history.test_label]
        loss = np.where(history.tested[number], -own * _BITS, np.nan)
        known = ~np.isnan(loss)
        if not known.any():
            continue
        labels = int(history.query_sizes[number])
        gain = math.nan
        # Between rounds with records in between, the gain is of several queries.
        if before is not None and before[0] == number - 1 and labels:
            both = known & ~np.isnan(before[1])
            gain = float((before[1][both] - loss[both]).mean() / labels) if both.any() else math.nan
        rows.append((int(number), labels, gain, float(loss[known].mean()), _calibration_error(history, int(number))))
        before = int(number), loss
    return pd.DataFrame(rows, columns=["round", "labels", "bits_per_label", "loss", "calibration_error"])


def _calibration_error(history: History, number: int) -> float:
    """Return the expected calibration error of the most probable class."""
    tested = history.tested[number]
    with np.errstate(invalid="ignore"):
        log_prob = np.where(np.isnan(history.test_log_prob[number]), -np.inf, history.test_log_prob[number])
    confidence = np.exp(log_prob.max(axis=1))[tested]
    right = history.right[number][tested]
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, confidence - right, CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _saturated(history: History, surprise: dict[int, Floats], test: pd.DataFrame) -> Finding | None:
    rounds = sorted(surprise)[-2:]
    last = np.concatenate([surprise[number] for number in rounds])
    guess = math.log2(max(history.num_classes, 2))
    if len(surprise) < 3 or len(last) < SATURATED_LABELS:
        return None
    # Most bits are near 0 and few are large: three standard errors make up for the skew.
    error = float(last.std(ddof=1) / math.sqrt(len(last)))
    if last.mean() + 3 * error > SATURATED_SURPRISE * guess:
        return None
    first = min(surprise)
    calibration = test.loc[test["round"] < rounds[-1], "calibration_error"]
    beside = f" The calibration error before was {calibration.iloc[-1]:.3f}." if len(calibration) else ""
    sentence = (
        f"The {counted(len(last), 'label')} of rounds {rounds[0]} and {rounds[1]} told {last.mean():.2f} bits each "
        f"(standard error {error:.2f}; a guess among {history.num_classes} classes is {guess:.2f}), those of round "
        f"{first} told {surprise[first].mean():.2f}.{beside}"
    )
    numbers = {"bits": float(last.mean()), "standard_error": error, "first": float(surprise[first].mean())}
    return Finding(KEY, sentence, 0.1, (), rounds[-1], numbers=numbers)
