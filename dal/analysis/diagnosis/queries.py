"""What each query did: the readout of the final features, fitted again without its labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from dal.analysis.diagnosis.finding import NO_TEST, Detected, Finding, Lack, Reason, few_rounds
from dal.analysis.diagnosis.history import Floats, History, Ints
from dal.analysis.diagnosis.readout import Readout, readout
from dal.analysis.diagnosis.thresholds import (
    QUERY_ALPHA,
    QUERY_HARM_Z,
    QUERY_LEAST,
    QUERY_NEWTON_LABELS,
    QUERY_NULL_SETS,
)
from dal.analysis.diagnosis.words import counted, listed, p_value
from dal.analysis.statistics.logistic import Head, fit_head, newton_step
from dal.analysis.statistics.paired_tests import holm

KEY = "queries"
TITLE = "Queries that did harm"


def detect(history: History) -> Detected:
    """Leave the labels of each query out of a fit of the last layer, and compare the losses on the test set.

    A query is harmful if the mean loss over classes is lower without it, and by far more than without the other
    queries, robust z >= QUERY_HARM_Z, and than without random labels. A query is beneficial if the loss rises by more
    than without random labels.
    """
    found = readout(history)
    if isinstance(found, Reason):
        return _unknown(*found)
    if not len(found.test_label):
        return _unknown("Without a test set, the effect of a query cannot be told.", NO_TEST)
    rounds = np.unique(found.trained.bought)
    if len(rounds) < 2:
        return _unknown("All labels are of one query.", few_rounds(len(rounds), QUERY_LEAST))
    effect, null = _effects(found, rounds, history.num_classes)
    # Not all classes have test points.
    known = np.isfinite(effect).any(axis=0)
    mean, null_mean = effect[:, known].mean(axis=1), null[..., known].mean(axis=-1)
    labels = np.array([(found.trained.bought == round).sum() for round in rounds])
    benefit = _benefit_p_values(mean, null_mean)
    summary = pd.DataFrame(
        {
            "round": rounds,
            "labels": labels,
            "mean": mean,
            "z": _robust_z(mean) if len(rounds) >= QUERY_LEAST else np.full(len(rounds), np.nan),
            "best_class": np.nanargmin(effect, axis=1),
            "worst_class": np.nanargmax(effect, axis=1),
            "random": null_mean.mean(axis=1),
            "p_benefit": holm(benefit),
            "p_harm": holm(1 - benefit),
        }
    )
    findings = [
        _harm(history, row, float(np.nanmax(by_class)), len(rounds))
        for row, by_class in zip(_rows(summary), effect, strict=True)
        if _is_harmful(row)
    ]
    few = len(rounds) < QUERY_LEAST
    if few:
        quiet = f"{len(rounds)} queries are too few to say which one did harm: {QUERY_LEAST} are needed."
    else:
        quiet = f"No query did harm that stands out, of {len(rounds)}.{_helpful(summary)}"
    return Detected(
        KEY,
        TITLE,
        tuple(sorted(findings, key=lambda finding: -finding.weight)),
        quiet,
        _method(found, len(rounds)),
        unknown=few and not findings,
        tables={"effect": _matrix(effect, rounds), "rounds": summary},
        lack=few_rounds(len(rounds), QUERY_LEAST) if few else None,
    )


def _unknown(reason: str, lack: Lack | None) -> Detected:
    method = "Leave one query out of a fit of the last layer."
    return Detected(KEY, TITLE, (), reason, method, unknown=True, lack=lack)


def _effects(found: Readout, rounds: Ints, num_classes: int) -> tuple[Floats, Floats]:
    """Return losses by class with all labels minus those without a query, and without random sets of as many labels.

    Returns (Q, C) and (Q, QUERY_NULL_SETS, C); NaN for classes without test points.
    """
    label, bought = found.trained.label, found.trained.bought
    full = fit_head(found.labeled, label, num_classes)
    all_labels = _class_losses(full, found, num_classes)
    generator = np.random.default_rng(0)

    def change_without(out: NDArray[np.bool_]) -> Floats:
        kept = ~out
        if len(label) > QUERY_NEWTON_LABELS:
            head = newton_step(found.labeled[kept], label[kept], full)
        else:
            head = fit_head(found.labeled[kept], label[kept], num_classes, full)
        return all_labels - _class_losses(head, found, num_classes)

    effect = np.stack([change_without(bought == round) for round in rounds])
    sizes = np.array([(bought == round).sum() for round in rounds])
    by_size = {}
    for size in np.unique(sizes):
        sets = [generator.permutation(len(label)) < size for _ in range(QUERY_NULL_SETS)]
        by_size[int(size)] = np.stack([change_without(out) for out in sets])
    return effect, np.stack([by_size[int(size)] for size in sizes])


def _class_losses(head: Head, found: Readout, num_classes: int) -> Floats:
    losses = -head.log_probs(found.test)[np.arange(len(found.test)), found.test_label]
    count = np.bincount(found.test_label, minlength=num_classes)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(found.test_label, losses, num_classes) / count, dtype=np.float64)


def _robust_z(values: Floats) -> Floats:
    """Return (Q,) distances of each value from the median of the others, in their robust standard deviations."""
    found = []
    for place, value in enumerate(values):
        others = np.delete(values, place)
        median = np.median(others)
        spread = 1.4826 * np.median(np.abs(others - median))
        found.append((value - median) / max(spread, 1e-12))
    return np.array(found)


def _benefit_p_values(mean: Floats, null: Floats) -> Floats:
    """Return (Q,) one-sided p-values that a query's effect is lower than that of one more random set."""
    count = null.shape[1]
    spread = np.maximum(null.std(axis=1, ddof=1) * np.sqrt(1 + 1 / count), 1e-12)
    return np.asarray(stats.t.cdf((mean - null.mean(axis=1)) / spread, count - 1), dtype=np.float64)


def _rows(table: pd.DataFrame) -> list[dict[str, float]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _is_harmful(row: dict[str, float]) -> bool:
    return bool(row["mean"] > 0 and row["z"] >= QUERY_HARM_Z and row["p_harm"] < QUERY_ALPHA)


def _is_beneficial(row: dict[str, float]) -> bool:
    return bool(row["mean"] < 0 and row["p_benefit"] < QUERY_ALPHA)


def _name(row: dict[str, float]) -> str:
    return f"the {counted(int(row['labels']), 'label')} of round {int(row['round'])}"


def _harm(history: History, row: dict[str, float], most: float, looks: int) -> Finding:
    worst = int(row["worst_class"])
    sentence = (
        f"Given the final features, {_name(row)} do harm: a readout without them has a loss on the test set that is "
        f"{row['mean']:.3f} nats lower, as a mean over classes (robust z {row['z']:.1f}; {p_value(row['p_harm'])} "
        f"against random labels after Holm; {looks} queries were looked at). The most, {most:.3f} "
        f"nats, is on {history.classes[worst]}."
    )
    numbers = {
        "loss_change": row["mean"],
        "z": row["z"],
        "p": row["p_harm"],
        "looks": looks,
        "labels": int(row["labels"]),
    }
    return Finding(KEY, sentence, 2.0, (worst,), int(row["round"]), numbers=numbers)


def _helpful(summary: pd.DataFrame) -> str:
    rounds = [f"{int(row['round'])}" for row in _rows(summary) if _is_beneficial(row)]
    if not rounds:
        return ""
    return (
        f" Given the final features, the labels of {'round' if len(rounds) == 1 else 'rounds'} {listed(rounds)} helped "
        f"the readout more than as many random labels of the run (Holm, {QUERY_ALPHA:.0%})."
    )


def _matrix(effect: Floats, rounds: Ints) -> pd.DataFrame:
    number = effect.shape[1]
    return pd.DataFrame(
        {
            "round": np.repeat(rounds, number),
            "class": np.tile(np.arange(number), len(rounds)),
            "loss_change": effect.ravel(),
        }
    )


def _method(found: Readout, looks: int) -> str:
    refit = "one Newton step" if len(found.trained.label) > QUERY_NEWTON_LABELS else "a refit"
    return (
        f"Multinomial logistic regression (L2, C = 0.1) on the standardized last-layer features of the last round; "
        f"{refit} without each of {looks} queries; loss on {len(found.test_label)} test points. Above 0, the labels "
        f"harm the class; the table and the heat map turn the sign. "
        f"Harm: mean over classes above 0, and {QUERY_HARM_Z} robust standard deviations above the "
        f"other queries. Harm and benefit: t-tests against {QUERY_NULL_SETS} random sets of as many labels, Holm over "
        f"queries at {QUERY_ALPHA:.0%}. The features were made with all queries: this is what the labels do to the "
        "readout, not what the images did to the features."
    )
