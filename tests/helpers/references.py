"""Slow, obvious NumPy float64 versions of every acquisition function, to check the fast ones against."""

import itertools
import math

import numpy as np


def softmax(logits):
    shifted = np.exp(logits - logits.max())
    return shifted / shifted.sum()


def entropy(probs):
    return -sum(p * math.log(p) for p in probs if p > 0)


def least_confidence(logits):
    return np.array([1 - max(softmax(row)) for row in logits])


def margin(logits):
    scores = []
    for row in logits:
        ranked = sorted(softmax(row), reverse=True)
        scores.append(1 - (ranked[0] - ranked[1]))
    return np.array(scores)


def entropies(logits):
    return np.array([entropy(softmax(row)) for row in logits])


def bald(log_probs):
    scores = []
    for point in log_probs:
        draws = [np.exp(draw) for draw in point]
        mean = sum(draws) / len(draws)
        scores.append(entropy(mean) - sum(entropy(draw) for draw in draws) / len(draws))
    return np.array(scores)


def distance(x, y):
    return math.sqrt(float(((x - y) ** 2).sum()))


def k_center(features, labeled, query_size):
    """Positions and the distance of each when it was taken; every distance by differences."""
    features, labeled = np.asarray(features, np.float64), np.asarray(labeled, np.float64)
    positions, scores = [], []
    if len(labeled) == 0:
        mean = features.mean(axis=0)
        to_mean = [distance(x, mean) for x in features]
        positions.append(int(np.argmin(to_mean)))
        scores.append(to_mean[positions[0]])
    nearest = np.full(len(features), np.inf)
    for center in [*labeled, *(features[p] for p in positions)]:
        nearest = np.minimum(nearest, [distance(x, center) for x in features])
    while len(positions) < query_size:
        best = max((i for i in range(len(features)) if i not in positions), key=lambda i: (nearest[i], -i))
        positions.append(best)
        scores.append(nearest[best])
        nearest = np.minimum(nearest, [distance(x, features[best]) for x in features])
    return positions, scores


def gradients(probs, features):
    """(N, C * D), formed."""
    found = []
    for p, h in zip(np.asarray(probs, np.float64), np.asarray(features, np.float64), strict=True):
        a = p.copy()
        a[np.argmax(p)] -= 1
        found.append(np.outer(a, h).ravel())
    return np.array(found)


def k_means_weights(points, chosen):
    """Squared distances to the nearest chosen point; all 1 if none is."""
    if not len(chosen):
        return np.ones(len(points))
    return np.array([min(float(((x - points[c]) ** 2).sum()) for c in chosen) for x in points])


def k_means_orders(points, length, weights_of=k_means_weights):
    """The probability of every ordered choice of ``length`` points under k-means++ seeding."""
    orders = {}
    for order in itertools.permutations(range(len(points)), length):
        probability = 1.0
        for taken, pick in enumerate(order):
            weights = np.array(weights_of(points, order[:taken]))
            if not weights.any():
                weights = np.array([float(i not in order[:taken]) for i in range(len(points))])
            probability *= weights[pick] / weights.sum()
        orders[order] = probability
    return orders


def alfa_mix_changes(features, weights, bias, anchors, epsilon):
    """(N,) under how many anchors the class that a linear head (D, C) predicts changes, element by element."""
    counts = []
    for z in np.asarray(features, np.float64):
        probs = softmax(z @ weights + bias)
        predicted = int(np.argmax(probs))
        # Of -log p of the predicted class, by the chain rule.
        gradient = [
            sum((probs[c] - (c == predicted)) * weights[d, c] for c in range(len(probs))) for d in range(len(z))
        ]
        length = math.sqrt(sum(g * g for g in gradient))
        changes = 0
        for anchor in anchors:
            mixed = []
            for d in range(len(z)):
                alpha = 0.0
                if anchor[d] != z[d] and length > 0:
                    alpha = epsilon * distance(anchor, z) / length * gradient[d] / (anchor[d] - z[d])
                mixed.append(alpha * anchor[d] + (1 - alpha) * z[d])
            changes += int(np.argmax(np.array(mixed) @ weights + bias)) != predicted
        counts.append(changes)
    return counts
