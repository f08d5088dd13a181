"""Histories of simulated runs with known recall of each class, without training."""

import numpy as np
from scipy import stats

from dal.analysis.diagnosis.history import History, Pool, Trained


def recall_curves(generator, rounds=15, classes=10, end=0.97):
    """(R, C) recall that grows from about 0.6 at a pace of each class."""
    start, pace = generator.uniform(0.5, 0.75, classes), generator.uniform(1.5, 3.0, classes)
    return end - (end - start) * np.exp(-np.arange(rounds)[:, None] / pace)


def simulated_history(
    seed=0,
    recall=None,
    images=50,
    twins=None,
    pool_counts=None,
    gone=None,
    query=20,
    fit=1.0,
    new_labels=None,
    probabilities=True,
):
    """A run with the recall curves (R, C), whose test points keep most of their luck from round to round.

    images: test points a class, or (C,) of each. twins: two classes that are told apart by chance. pool_counts: (C,)
    points of the pool. gone: (class, round) that is out of the pool from this round on. fit: accuracy on the labels.
    """
    generator = np.random.default_rng(seed)
    recall = recall_curves(generator) if recall is None else np.asarray(recall)
    num_rounds, num = recall.shape
    label = np.repeat(np.arange(num), images)
    logits = _logits(generator, label, recall, twins)
    if new_labels is None:
        even = query // (2 * num)
        chance = [generator.multinomial(query - even * num, np.full(num, 1 / num)) for _ in range(num_rounds)]
        new_labels = np.stack(chance) + even
        new_labels[0] += 5
        if gone:
            new_labels[gone[1] :, gone[0]] = 0
    bought = np.cumsum(new_labels.sum(axis=1))
    predicted = logits.argmax(axis=2)
    log_prob = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    pool_counts = np.full(num, 150) if pool_counts is None else np.asarray(pool_counts)
    return History(
        classes=[f"class {number}" for number in range(num)],
        labels_bought=bought,
        starts=["continue"] * num_rounds,
        query_sizes=new_labels.sum(axis=1),
        new_labels=new_labels,
        test_label=label,
        test_predicted=predicted,
        test_log_prob=log_prob if probabilities else np.full(log_prob.shape, np.nan),
        stop_predicted=[None] * num_rounds,
        trained=[_trained(generator, new_labels[: round + 1].sum(axis=0), fit) for round in range(num_rounds)],
        pool=_pools(generator, recall, twins, pool_counts, new_labels, gone),
    )


def _logits(generator, label, recall, twins):
    """(R, T, C) logits. A point that is wrong is always taken for the same class."""
    num_rounds, num = recall.shape
    other = (label + generator.integers(1, num, len(label))) % num
    luck, noise = generator.normal(size=len(label)), generator.normal(size=len(label))
    logits = np.full((num_rounds, len(label), num), -4.0) + generator.normal(size=(num_rounds, len(label), num)) / 4
    place = np.arange(len(label))
    for round in range(num_rounds):
        noise = 0.7 * noise + np.sqrt(1 - 0.49) * generator.normal(size=len(label))
        margin = 3 * (stats.norm.ppf(recall[round, label]) - np.sqrt(0.7) * luck - np.sqrt(0.3) * noise)
        logits[round, place, label], logits[round, place, other] = margin / 2, -margin / 2
        if twins:
            of_pair = np.isin(label, twins)
            chance = 2 * (np.sqrt(0.7) * luck + np.sqrt(0.3) * noise)[of_pair]
            logits[round][np.ix_(of_pair, twins)] = np.stack([chance, -chance], axis=1) + 3
    return logits


def _trained(generator, labels, fit):
    told = np.repeat(np.arange(len(labels)), labels)
    wrong = generator.random(len(told)) >= fit
    predicted = np.where(wrong, (told + 1) % len(labels), told)
    nothing = np.full(len(told), np.nan)
    return Trained(np.arange(len(told)), told, np.zeros_like(told), predicted, nothing, nothing, nothing)


def _pools(generator, recall, twins, pool_counts, new_labels, gone):
    pools = [None]
    left = pool_counts - new_labels[0]
    num = recall.shape[1]
    for round in range(1, len(recall)):
        left = np.maximum(left, 0)
        if gone and round >= gone[1]:
            left[gone[0]] = 0
        share = recall[round - 1][:, None]
        rows = np.where(np.eye(num, dtype=bool), share, (1 - share) / (num - 1))
        if twins:
            rows[np.ix_(twins, twins)] = 0.49
            rows[list(twins)] /= rows[list(twins)].sum(axis=1, keepdims=True)
        counts = sum(generator.multinomial(left[k], rows[k]) for k in range(num))
        pools.append(Pool(counts, counts.astype(float), int(left.sum())))
        left = left - new_labels[round]
    return pools
