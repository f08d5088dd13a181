"""Results of detectors as the page reads them, made from simulated records without any detector."""

import numpy as np
import pandas as pd

from dal.analysis.diagnosis.finding import Detected, Finding

TITLES = {
    "learned": "Classes that were lost",
    "ran_out": "Classes that the pool ran out of",
    "stall": "Classes that stall",
    "merge": "Classes that the network cannot tell apart",
    "queries": "Queries that stand out",
    "information": "Information in the labels",
    "association": "Labels and recall of the same class",
    "onset": "Overfitting within a round",
    "stability": "Layers that jump or stand still",
    "capacity": "A network that is too narrow or too deep",
    "forgetting": "Forgotten images",
    "suspects": "Labels worth a second look",
    "collect": "Classes to collect",
}


def detected_of(history, unknown=False):
    """Return a result of every detector. With ``unknown``, all of them cannot tell."""
    if unknown:
        return [
            Detected(key, title, (), "The run has too few rounds.", "None.", unknown=True)
            for key, title in TITLES.items()
        ]
    tables = {
        "learned": {"changes": _changes(history)},
        "ran_out": {"pool": _pool(history)},
        "merge": {"pair_curves": _pairs(history), "pairs": _merged()},
        "queries": {"effect": _effect(history)},
        "onset": {"onsets": pd.DataFrame({"round": [history.num_rounds - 1], "update": [90.0]})},
        "stability": {"churn": _churn(history)},
        "capacity": {"probes": _probes(history)},
        "forgetting": {"points": _points(history)},
        "suspects": {"suspects": _suspects(history)},
        "collect": {"collect": _collect(history)},
    }
    names, last = history.classes, history.num_rounds - 1
    findings = {
        "learned": [
            Finding(
                "learned",
                f"In round {max(last - 3, 1)} the model got 21 of the 50 test images of {names[1]} wrong that it had "
                "had right and 1 the other way (p = 0.00001; 110 were looked at). Retraining on the same labels may "
                "give another picture.",
                3.0,
                (1,),
                max(last - 3, 1),
            )
        ],
        "ran_out": [
            Finding(
                "ran_out",
                f"At most 1.4 % of the pool is {names[0]} (since round {max(last - 5, 1)}; upper 95 % limit).",
                2.0,
                (0,),
                max(last - 5, 1),
            )
        ],
        "merge": [
            Finding(
                "merge",
                f"This network does not tell {names[0]} and {names[1]} apart (AUC 0.62, at most 0.74), though both "
                "gained labels and it fits its labels otherwise. Either the images do not differ, or the labels do not "
                "differ, or it needs a better network or larger images. Look at these twelve.",
                2.5,
                (0, 1),
                last,
                numbers={"accuracy": 0.9, "accuracy_merged": 0.93},
            )
        ],
    }
    unknowns = {"capacity": "No features of the last layer were kept.", "association": "Three rounds are too few."}
    return [
        Detected(
            key,
            title,
            tuple(findings.get(key, ())),
            "" if key in findings else unknowns.get(key, f"Nothing was found in {history.num_rounds} rounds."),
            f"A test of {title.lower()} at 5 % over {history.num_classes} classes and {last} rounds.",
            unknown=key in unknowns,
            silenced=("Round 3 was not confirmed by the next round.",) if key == "learned" else (),
            tables=tables.get(key, {}),
        )
        for key, title in TITLES.items()
    ]


def _changes(history):
    rng = np.random.default_rng(0)
    rows = [(k, "learned", int(rng.integers(1, max(history.num_rounds // 2, 2)))) for k in range(history.num_classes)]
    rows += [(1, "lost", max(history.num_rounds - 4, 1)), (1, "regained", history.num_rounds - 1)]
    return pd.DataFrame(rows[1:], columns=["class", "event", "round"])


def _pool(history):
    rows = []
    for at, pool in enumerate(history.pool):
        if pool is not None:
            share = pool.counts / pool.counts.sum()
            low, high = np.maximum(share - 0.02, 0), share + 0.03
            columns = {"round": at, "class": np.arange(len(share)), "share": share, "low": low, "high": high}
            rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def _pairs(history):
    x = np.arange(history.num_rounds)
    auc = 0.55 + 0.02 * x
    pairs = [(0, 1)] if history.num_classes == 2 else [(0, 1), (1, 2)]
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "class_a": a,
                    "class_b": b,
                    "round": x,
                    "auc": auc + a / 10,
                    "low": auc + a / 10 - 0.1,
                    "high": np.minimum(auc + a / 10 + 0.1, 1),
                }
            )
            for a, b in pairs
        ]
    )


def _merged():
    return pd.DataFrame({"class_a": [0], "class_b": [1], "accuracy": [0.9], "accuracy_merged": [0.93]})


def _effect(history):
    rng = np.random.default_rng(1)
    shape = (history.num_rounds, history.num_classes)
    values = rng.normal(-0.002, 0.01, shape)
    rounds, classes = np.indices(shape)
    return pd.DataFrame({"round": rounds.ravel(), "class": classes.ravel(), "loss_change": values.ravel()})


def _churn(history):
    share = 0.3 * np.exp(-np.arange(1, history.num_rounds) / 4)
    return pd.DataFrame(
        {
            "round": np.arange(1, history.num_rounds),
            "of": "stop",
            "points": 200,
            "share": share,
            "low": share * 0.8,
            "high": share * 1.2,
        }
    )


def _probes(history):
    features = history.features
    names = features.layer_names if features is not None else []
    return pd.DataFrame({"layer": names, "points": 400, "accuracy": np.linspace(0.6, 0.9, len(names))})


def _points(history):
    trained = history.trained[-1]
    rows = []
    for index, label in zip(trained.index, trained.label, strict=True):
        seen = [
            (one.predicted[at] == label, one.log_prob[at])
            for one in history.trained
            for at in np.flatnonzero(one.index == index)
        ]
        right, prob = np.array([r for r, _ in seen]), np.exp([p for _, p in seen])
        forgotten = int((right[:-1] & ~right[1:]).sum())
        rows.append((index, label, forgotten, prob.mean(), prob.std(), right.mean(), len(right)))
    columns = ["index", "label", "events", "mean_p", "sd_p", "correctness", "rounds"]
    return pd.DataFrame(rows, columns=columns).sort_values("events", ascending=False, kind="stable")


def _suspects(history):
    trained = history.trained[-1]
    worst = np.argsort(trained.log_prob)[:5]
    return pd.DataFrame(
        {
            "index": trained.index[worst],
            "told": trained.label[worst],
            "suggested": trained.predicted[worst],
            "p_told": np.exp(trained.log_prob[worst]),
        }
    )


def _collect(history):
    last = history.right[-1]
    recall = [last[history.of_class(k)].mean() for k in range(history.num_classes)]
    order = np.argsort(recall)
    wrong = [" ".join(str(at) for at in history.of_class(k) if not last[at]) for k in order]
    return pd.DataFrame(
        {
            "class": order,
            "low": 0.02,
            "high": 0.09,
            "left_in_pool": "20 to 50",
            "advice": "ask for labels",
            "examples": wrong,
        }
    )
