"""Which classes have the most to gain from more labels, and whether the pool still has some."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dal.analysis.diagnosis.finding import NO_TEST, Detected, Finding, Reason, few_rounds
from dal.analysis.diagnosis.history import Floats, History, Ints
from dal.analysis.diagnosis.ran_out import pool_shares
from dal.analysis.diagnosis.thresholds import (
    COLLECT_ALPHA,
    COLLECT_CONFIDENCE,
    COLLECT_EXAMPLES,
    COLLECT_LEAST,
    COLLECT_POINTS,
    COLLECT_RESAMPLES,
)
from dal.analysis.diagnosis.words import counted
from dal.analysis.statistics.power_law import fit_power_laws, fitted_levels, shrunk_exponents

KEY = "collect"
TITLE = "What to collect next"
MOST_EXPONENT = 2.0


@dataclass(frozen=True, eq=False)
class _Curves:
    """Labels and wrong test images of K classes in the rounds that tested them."""

    classes: Ints
    numbers: Floats
    """(r, K) labels plus 1, so that a class without labels has a logarithm."""
    wrong: list[Floats]
    """(r, n) per class: wrong test images."""
    query: int
    """Labels of a query."""


def detect(history: History) -> Detected:
    """Rank the classes by the median of what one more query of labels of each class would gain.

    The error of each class falls as a power of its labels. Exponents are shrunk to the common one, since a few noisy
    rounds fix no exponent. Resampled test images give the intervals. On digits with three rare classes, and other seeds
    than those of the benchmark, the median put these first in 19 of 20 runs, and the lower end in 16.
    """
    curves = _curves(history)
    if isinstance(curves, Reason):
        method = "Learning curves of each class."
        return Detected(KEY, TITLE, (), curves.sentence, method, unknown=True, lack=curves.lack)
    draws = _gains(curves)
    if np.isnan(draws).all():
        reason = f"No class has {COLLECT_POINTS} different numbers of labels, so no learning curve can be fitted."
        return Detected(KEY, TITLE, (), reason, _method(curves), unknown=True)
    tail = (1 - COLLECT_CONFIDENCE) / 2
    low, gain, high = np.quantile(draws, [tail, 0.5, 1 - tail], axis=0)
    left, advice = _left_in_pool(history, curves)
    examples = [_examples(history, int(number)) for number in curves.classes]
    table = pd.DataFrame(
        {
            "class": curves.classes,
            "gain": gain,
            "low": low,
            "high": high,
            "left_in_pool": left,
            "advice": advice,
            "examples": [" ".join(str(place) for place in places) for places in examples],
        }
    )
    order = np.lexsort((curves.classes, -low, -gain))
    above = draws - np.median(draws, axis=1, keepdims=True)
    sure = np.quantile(above, COLLECT_ALPHA / len(curves.classes), axis=0) > COLLECT_LEAST
    findings = [
        _finding(history, row, examples[place], rank, curves)
        for rank, (place, row) in enumerate((int(k), table.iloc[int(k)]) for k in order)
        if sure[place]
    ]
    return Detected(
        KEY,
        TITLE,
        tuple(findings),
        f"No class has clearly more to gain than the others, of {len(curves.classes)}.",
        _method(curves),
        tables={"collect": table.iloc[order].reset_index(drop=True)},
    )


def _curves(history: History) -> _Curves | Reason:
    rounds = history.recorded
    if not len(rounds):
        return Reason("Without a test set, it cannot be told which class would gain from labels.", NO_TEST)
    if len(rounds) < COLLECT_POINTS:
        reason = f"{counted(len(rounds), 'round')} with a test set: a learning curve needs {COLLECT_POINTS}."
        return Reason(reason, few_rounds(len(rounds), COLLECT_POINTS))
    position = np.flatnonzero(history.tested[rounds].all(axis=0))
    classes = np.unique(history.test_label[position])
    if len(classes) < 2:
        return Reason("The test images are of fewer than two classes.")
    labels = np.cumsum(history.new_labels, axis=0)[rounds][:, classes].astype(np.float64)
    wrong = [
        np.asarray(~history.right[rounds][:, position[history.test_label[position] == number]], dtype=np.float64)
        for number in classes
    ]
    sizes = history.query_sizes[1:]
    return _Curves(classes, labels + 1, wrong, max(int(np.median(sizes)) if len(sizes) else 1, 1))


def _gains(curves: _Curves) -> Floats:
    """Return (COLLECT_RESAMPLES, K) falls of the error of each class with one more query of its labels."""
    generator = np.random.default_rng(0)
    counts = np.array([wrong.shape[1] for wrong in curves.wrong], dtype=np.float64)
    errors = np.stack(
        [
            generator.multinomial(wrong.shape[1], np.full(wrong.shape[1], 1 / wrong.shape[1]), COLLECT_RESAMPLES)
            @ wrong.T
            / wrong.shape[1]
            for wrong in curves.wrong
        ],
        axis=-1,
    )
    tested = np.broadcast_to(counts, curves.numbers.shape)
    slopes, variances = fit_power_laws(curves.numbers, errors, tested, COLLECT_POINTS)
    # Rounds share their test images, so the weights understate the variance of a slope; its resamples do not.
    spread = np.maximum(slopes.var(axis=0), np.median(variances, axis=0))
    exponents, deviations = shrunk_exponents(slopes, np.broadcast_to(spread, slopes.shape))
    exponents = np.clip(exponents + deviations * generator.standard_normal(slopes.shape), 0.0, MOST_EXPONENT)
    level = fitted_levels(curves.numbers, errors, tested, exponents)
    now = np.minimum(np.exp(level - exponents * np.log(curves.numbers[-1])), 1.0)
    kept = (curves.numbers[-1] / (curves.numbers[-1] + curves.query)) ** exponents
    # A class cannot gain more than its error of now.
    return np.asarray(np.minimum(now * (1 - kept), errors[:, -1]), dtype=np.float64)


def _left_in_pool(history: History, curves: _Curves) -> tuple[list[str], list[str]]:
    """Return, per class, the points that the pool still has, and whether to ask for them or to collect others."""
    unknown = ["unknown"] * len(curves.classes), ["label or collect"] * len(curves.classes)
    known = [number for number, pool in enumerate(history.pool) if pool is not None]
    if not known:
        return unknown
    number = known[-1]
    pool = history.pool[number]
    assert pool is not None
    # The pool is scored by the model of the round before.
    if number < 1 or number - 1 not in history.recorded or not pool.counts.sum():
        return unknown
    shares = pool_shares(history, number)
    low, high = shares["low"].to_numpy(), shares["high"].to_numpy()
    since = history.new_labels[number:].sum(axis=0)
    left, advice = [], []
    for k in curves.classes:
        ends = [max(round(share[k] * pool.size) - int(since[k]), 0) for share in (low, high)]
        left.append(f"{ends[0]} to {ends[1]}")
        if ends[0] >= curves.query:
            advice.append("label")
        else:
            advice.append("collect" if ends[1] < curves.query else "label or collect")
    return left, advice


def _examples(history: History, number: int) -> tuple[int, ...]:
    """Return the positions of test images that are still wrong, those that were wrong in the most rounds first."""
    last = history.recorded[-1]
    of_class = history.of_class(number)
    wrong = of_class[history.tested[last, of_class] & ~history.right[last, of_class]]
    often = (history.tested & ~history.right)[:, wrong].sum(axis=0)
    return tuple(int(place) for place in wrong[np.argsort(-often, kind="stable")][:COLLECT_EXAMPLES])


def _finding(history: History, row: pd.Series, examples: tuple[int, ...], rank: int, curves: _Curves) -> Finding:
    number = int(row["class"])
    name = history.classes[number]
    pool = {
        "label": f"The pool still has {row['left_in_pool']} of them.",
        "collect": f"Few are left in the pool ({row['left_in_pool']}).",
        "label or collect": "How many the pool still has cannot be told.",
    }[str(row["advice"])]
    place = "have the most to gain" if rank == 0 else f"have rank {rank + 1} of what there is to gain"
    sentence = (
        f"Labels of {name} {place}: {100 * row['low']:.1f} to {100 * row['high']:.1f} points of recall for a query of "
        f"{counted(curves.query, 'label')} ({len(curves.classes)} classes were looked at). {pool}"
    )
    numbers = {"gain": float(row["gain"]), "low": float(row["low"]), "high": float(row["high"]), "rank": rank + 1}
    return Finding(KEY, sentence, 0.5 + float(row["gain"]), (number,), points=examples, numbers=numbers)


def _method(curves: _Curves) -> str:
    return (
        f"Error of each class = a (n + 1)^-b of its n labels, weighted least squares of logarithms over "
        f"{len(curves.numbers)} rounds; b is shrunk to the common exponent (empirical Bayes). Gain: the fall of the "
        f"error with {counted(curves.query, 'more label')} of the class, with {COLLECT_CONFIDENCE:.0%} intervals from "
        f"{COLLECT_RESAMPLES} samples of the test images. A class is named if its gain is above the median class's by "
        f"{100 * COLLECT_LEAST:.0f} points at {COLLECT_ALPHA:.0%} over {len(curves.classes)} classes. Power laws "
        "overestimate gains from few rounds, and labels of one class move others, so the ranks count and not the "
        "numbers."
    )
