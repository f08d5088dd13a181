"""Histories of simulated runs: Gaussian features, a readout that learns, no training."""

import numpy as np

from dal.analysis.diagnosis.history import NOT_TESTED, History, LastFeatures, Pool, Trained


def simulated(
    seed=0, *, rounds=10, query=20, classes=5, test=200, width=8, distance=3.0, noise=0.0, poisoned=None, weights=None
):
    """Return a history of queries at random, and the rows with wrong labels.

    Each class is a Gaussian around its own center. Round r predicts a label by its distance to the mean of the labels
    so far. ``noise`` is the share of wrong labels, ``poisoned`` a round with wrong labels alone, and ``weights`` the
    frequencies of the classes in the queries.
    """
    generator = np.random.default_rng(seed)
    centers = generator.standard_normal((classes, width))
    centers *= distance / np.linalg.norm(centers, axis=1, keepdims=True)
    number = rounds * query
    true = generator.choice(classes, number, p=weights)
    bought = np.repeat(np.arange(rounds), query)
    wrong = (generator.random(number) < noise) | (bought == poisoned)
    told = np.where(wrong, (true + generator.integers(1, classes, number)) % classes, true)
    points = centers[true] + generator.standard_normal((number, width))
    test_label = np.arange(test) % classes
    tested = centers[test_label] + generator.standard_normal((test, width))
    trained, predicted, log_probs, before = [], [], [], None
    for round in range(rounds):
        seen = bought <= round
        of_test = _log_probs(points[seen], told[seen], tested, classes)
        of_points = _log_probs(points[seen], told[seen], points, classes)
        rows = np.arange(number), told
        old = np.where((bought == round) & (round > 0), before[rows] if round else 0.0, np.nan)
        margin = of_points[rows] - np.where(np.eye(classes)[told] > 0, -np.inf, of_points).max(axis=1)
        index = 1000 - np.arange(number)  # not sorted
        record = (index, told, bought, of_points.argmax(axis=1), of_points[rows], margin, old)
        trained.append(Trained(*(values[seen] for values in record)))
        predicted.append(of_test.argmax(axis=1))
        log_probs.append(of_test)
        before = of_points
    new = np.stack([np.bincount(told[bought == round], minlength=classes) for round in range(rounds)])
    history = History(
        classes=[f"class {k}" for k in range(classes)],
        labels_bought=np.cumsum(new.sum(axis=1)),
        starts=["continue"] * rounds,
        query_sizes=new.sum(axis=1),
        new_labels=new,
        test_label=test_label,
        test_predicted=np.array(predicted),
        test_log_prob=np.array(log_probs),
        stop_predicted=[None] * rounds,
        trained=trained,
        pool=[None]
        + [Pool(np.bincount(p, minlength=classes) * 5, np.zeros(classes), 5 * test) for p in predicted[:-1]],
        features=LastFeatures(tested, np.arange(test), points),
    )
    return history, wrong


def without_test(history):
    """Return the arguments of a history of the same run without a test set."""
    none = np.empty((history.num_rounds, 0), np.int64)
    features = history.features
    return {
        "test_label": np.empty(0, np.int64),
        "test_predicted": none,
        "test_log_prob": np.empty((*none.shape, history.num_classes)),
        "features": LastFeatures(features.test[:0], features.test_position[:0], features.labeled),
    }


def without_records(history, rounds):
    """Return the arguments of a history in which some rounds ran with ``diagnosis=off``."""
    predicted, log_prob = history.test_predicted.copy(), history.test_log_prob.copy()
    predicted[rounds], log_prob[rounds] = NOT_TESTED, np.nan
    return {
        "test_predicted": predicted,
        "test_log_prob": log_prob,
        "trained": [None if number in rounds else record for number, record in enumerate(history.trained)],
        "pool": [None if number in rounds else pool for number, pool in enumerate(history.pool)],
    }


def _log_probs(points, labels, others, classes):
    """Return (n, C) log-probabilities of points by their distances to the means of the labels."""
    means = np.stack(
        [
            points[labels == k].mean(axis=0) if (labels == k).any() else np.full(points.shape[1], 9.0)
            for k in range(classes)
        ]
    )
    scores = -((others[:, None] - means) ** 2).sum(axis=2) / 2
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
