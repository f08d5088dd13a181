"""ALFA-Mix: anchors and mixes by hand, whose prediction changes by an obvious loop, and k-means among those alone."""

import math

import numpy as np
import pytest
import torch

from dal.acquisition import ALFAMix, alfa_mix_select, class_anchors, k_means_select, mixed_features
from dal.errors import DalError, NonFiniteError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Linear:
    """A network whose images are features, with any head."""

    def __init__(self, weights, bias):
        self.weights, self.bias = weights, bias

    def features(self, x):
        return x

    def head(self, features):
        return features @ self.weights + self.bias


def rectified(num_points, num_features, seed):
    """As from a ReLU, many of them 0, in float64, so that no sum is a matter of rounding."""
    return torch.randn(num_points, num_features, generator=generator(seed), dtype=torch.float64).clamp(min=0)


def network(num_features, num_classes, seed=1):
    shape = (num_features + 1, num_classes)
    drawn = torch.randn(shape, generator=generator(seed), dtype=torch.float64)
    return Linear(drawn[:-1], drawn[-1])


def anchored(function, model, labeled, labels):
    return function.with_labeled(function.summarize(model, labeled), labels)


def test_anchors_are_the_means_of_the_classes_that_have_points():
    features = torch.tensor([[1.0, 0.0], [5.0, 2.0], [100.0, 100.0], [3.0, 4.0], [-1.0, -1.0]])
    found = class_anchors(features, torch.tensor([3, 0, -2, 3, 5]))
    assert found.dtype == torch.float64 and found.tolist() == [[5, 2], [2, 2], [-1, -1]]


def test_a_mix_by_hand():
    z, anchor, gradient = torch.zeros(1, 2), torch.tensor([3.0, 4.0]), torch.tensor([[1.0, -1.0]])
    # |z* - z| = 5 and |g| = sqrt(2): alpha is 0.1 * 5 / sqrt(2) * (1 / 3, -1 / 4), and so the mix goes back from 4.
    step = 0.1 * 5 / math.sqrt(2)
    alpha = np.array([step / 3, -step / 4])
    found = mixed_features(z, gradient, anchor, 0.1)
    assert found[0].tolist() == pytest.approx((alpha * [3, 4]).tolist(), rel=1e-12)
    # Only the direction of the gradient counts, however long it is.
    for factor in (1e-30, 1e30):
        assert torch.allclose(mixed_features(z, gradient * factor, anchor, 0.1), found, rtol=1e-6, atol=0)


def test_elements_equal_to_the_anchor_s_and_points_without_a_gradient_stay():
    z, anchor = torch.tensor([[1.0, 2.0], [1.0, 5.0], [4.0, 2.0]]), torch.tensor([1.0, 2.0])
    gradients = torch.tensor([[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]])
    # The first is the anchor. The second may move in its second element alone, by 4 / 5 of 0.5 * 3.
    assert mixed_features(z, gradients, anchor, 0.5).tolist() == [[1, 2], [1, pytest.approx(6.2)], [4, 2]]


@pytest.mark.parametrize("epsilon", [0.2, 0.7])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_changes_are_those_of_an_obvious_loop(epsilon, num_classes, references):
    model = network(9, num_classes)
    pool, labeled = rectified(200, 9, seed=2), rectified(30, 9, seed=3)
    labels = torch.arange(30) % num_classes
    labels[4] = -2
    # A unit that is 0 for all labeled points and for some of the pool.
    labeled[:, 0] = 0
    function = anchored(ALFAMix(epsilon, steps=3), model, labeled, labels)
    summary = function.summarize(model, pool)
    steps = summary["changes"]
    assert steps.shape == (200, 3)
    found = steps[:, 0]
    means = [
        np.mean([x for x, y in zip(labeled.numpy(), labels, strict=True) if y == c], axis=0) for c in range(num_classes)
    ]
    arguments = pool.numpy(), model.weights.numpy(), model.bias.numpy(), means
    expected = references.alfa_mix_changes(*arguments, epsilon / math.sqrt(9))
    assert found.tolist() == expected and summary["features"] is pool
    for step in (1, 2):
        later = references.alfa_mix_changes(*arguments, (step + 1) * epsilon / math.sqrt(9))
        assert steps[:, step].tolist() == later != expected
    # Neither all nor none, some under a part of the anchors alone, and nothing else would give the same.
    assert 5 < np.count_nonzero(expected) < 195 and any(0 < count < num_classes for count in expected)
    assert expected != references.alfa_mix_changes(*arguments, epsilon)
    assert expected != references.alfa_mix_changes(*arguments[:3], means[:-1], epsilon / math.sqrt(9))


@pytest.mark.parametrize("kind", ["normal", "rectified", "constant"])
def test_products_of_a_linear_head_change_the_points_of_the_obvious_loop(kind, references):
    """Zeros and other constants are equal in points and anchors, whose labels are one or several."""
    model = network(9, 4)
    model.weights, model.bias = model.weights.float(), model.bias.float()
    draws = [torch.randn(count, 9, generator=generator(seed)) for count, seed in ((80, 2), (12, 3))]
    limits = {"normal": (-10, 10), "rectified": (0, 10), "constant": (-0.5, 0.75)}
    pool, labeled = (x.clamp(*limits[kind]) for x in draws)
    pool[:3, 4], labels = labeled[0, 4], torch.tensor([0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 3])
    by_head = anchored(ALFAMix(0.6, steps=2), model, labeled, labels).summarize(model, pool)["changes"]
    model.linear_head = lambda: (model.weights.T, model.bias)
    with torch.inference_mode():
        found = anchored(ALFAMix(0.6, steps=2), model, labeled, labels).summarize(model, pool)["changes"]
    means = class_anchors(labeled, labels).numpy()
    arguments = pool.double().numpy(), model.weights.double().numpy(), model.bias.double().numpy(), means
    for step in (0, 1):
        assert found[:, step].tolist() == references.alfa_mix_changes(*arguments, (step + 1) * 0.6 / 3)
    assert torch.equal(found, by_head) and 10 < int((found[:, 0] > 0).sum()) < 75


def test_classes_with_equal_weights_do_not_pass_each_other():
    weights = torch.randn(160, 1, generator=generator(0)).repeat(1, 23)
    model = Linear(weights, torch.zeros(23))
    model.linear_head = lambda: (weights.T, model.bias)
    pool, labeled = torch.randn(110, 160, generator=generator(1)).split([64, 46])
    assert not anchored(ALFAMix(), model, labeled, torch.arange(46) % 23).summarize(model, pool)["changes"].any()


def test_a_linear_head_that_overflows_names_its_row():
    model = network(3, 2)
    model.weights, model.bias = model.weights.float(), model.bias.float()
    model.linear_head = lambda: (model.weights.T, model.bias)
    reads = anchored(ALFAMix(), model, rectified(2, 3, 0).float() + 1, torch.tensor([0, 1]))
    model.weights[0, 0] = torch.inf
    with pytest.raises(NonFiniteError, match=r"logits: expected finite numbers, got .* at row 0 of 2"):
        reads.summarize(model, torch.ones(2, 3))


def test_the_step_at_which_a_prediction_changes_is_that_of_a_line():
    """Two classes that are told apart by the sign of the first feature, in whose direction the gradient is."""
    model = Linear(torch.tensor([[1.0, -1.0], [0.0, 0.0]]), torch.zeros(2))
    pool = torch.tensor([[0.9, 1.0], [1.1, 1.0], [-0.9, 1.0], [-1.1, 1.0]])
    # With epsilon = 0.5 sqrt(D) a point moves by half of its distance to an anchor.
    labeled, labels = torch.tensor([[0.9, 3.0], [-1.1, -1.0]]), torch.tensor([0, 1])
    function = anchored(ALFAMix(0.5 * math.sqrt(2), steps=1), model, labeled, labels)
    # Distances to the two: 2, 2.83; 2.01, 2.97; 2.69, 2.01; 2.83, 2. The first and the last point share the first
    # feature of an anchor, and do not move in it.
    assert function.summarize(model, pool)["changes"].tolist() == [[1], [1], [2], [1]]
    # Very sure points, whose cross entropy is 0 in float32, still have a direction.
    sure = Linear(model.weights * 200, model.bias)
    assert torch.nn.functional.cross_entropy(sure.head(pool[:1]), torch.tensor([0])) == 0
    assert anchored(function, sure, labeled, labels).summarize(sure, pool)["changes"].tolist() == [[1], [1], [2], [1]]


def test_gradients_are_those_of_any_head():
    """A bent head, against differences of its cross entropy."""
    linear = network(6, 4)
    bent = Linear(linear.weights, linear.bias)
    bent.head = lambda z: torch.tanh(z[:, :6]) @ linear.weights + z.square().sum(dim=1, keepdim=True) * linear.bias
    pool, labeled, labels = rectified(60, 6, 4) + 0.1, rectified(8, 6, 5), torch.arange(8) % 4
    with torch.inference_mode():
        found = anchored(ALFAMix(0.5, 1), bent, labeled, labels).summarize(bent, pool.clone())["changes"][:, 0]
    expected = torch.zeros(60)
    for i, z in enumerate(pool):
        predicted = bent.head(z[None]).argmax(dim=1)
        moved = z + 1e-6 * torch.cat([torch.eye(6), -torch.eye(6)]).double()
        losses = torch.nn.functional.cross_entropy(bent.head(moved), predicted.expand(12), reduction="none")
        direction = (losses[:6] - losses[6:]) / (losses[:6] - losses[6:]).norm()
        for c in range(4):
            difference = labeled[labels == c].mean(dim=0) - z
            mixed = z + torch.where(difference != 0, 0.5 / math.sqrt(6) * difference.norm() * direction, 0)
            expected[i] += (bent.head(mixed[None]).argmax(dim=1) != predicted).float()[0]
    assert torch.equal(found, expected) and 3 < int((found > 0).sum()) < 57


@pytest.mark.parametrize("seed", [0, 1])
def test_candidates_are_the_points_that_change(seed):
    features, counts = torch.randn(60, 4, generator=generator(1)), torch.arange(60) % 3
    found = ALFAMix().select({"features": features, "changes": counts[:, None].float()}, {}, 7, generator(seed))
    candidates = (counts > 0).nonzero().flatten()
    assert torch.equal(found.positions, candidates[k_means_select(features[candidates], 7, generator(seed))])
    assert torch.equal(found.scores, counts[found.positions].double())
    assert torch.equal(alfa_mix_select(features, counts[:, None], 7, generator(seed)), found.positions)


def test_the_first_step_with_more_than_a_query_decides():
    features = torch.randn(60, 4, generator=generator(1))
    points = torch.arange(60)
    few, more, all_ = points % 20 == 0, points % 6 == 1, points >= 0
    three = torch.stack([few, more, all_], dim=1).long()
    found = {q: alfa_mix_select(features, three, q, generator()).tolist() for q in (2, 3, 9, 10, 59)}
    assert set(found[2]) < {0, 20, 40}
    # With three points of few there is nothing to choose from, with ten of more neither.
    assert all(p % 6 == 1 for p in found[3] + found[9]) and len(found[9]) == 9
    for q in (10, 59):
        assert torch.equal(torch.tensor(found[q]), alfa_mix_select(features, three[:, 2:], q, generator()))
    # Where no step has enough, the one with the most; the first of equal ones.
    short = torch.stack([few, more, more.roll(1)], dim=1).long()
    assert set(alfa_mix_select(features, short, 12, generator()).tolist()) > set(more.nonzero().flatten().tolist())


def test_what_is_missing_is_drawn_from_the_others():
    features, counts = torch.randn(40, 4, generator=generator(1)), torch.zeros(40, 1)
    counts[[3, 11, 20], 0] = torch.tensor([1.0, 3.0, 2.0])
    drawn = [alfa_mix_select(features, counts, 10, generator(seed)).tolist() for seed in range(200)]
    assert all(found[:3] == [11, 20, 3] and len(set(found)) == 10 for found in drawn)
    # 7 of 37 at a time: 37.8 of 200 each, within five standard deviations.
    often = np.bincount(np.concatenate([found[3:] for found in drawn]), minlength=40)
    assert often[[3, 11, 20]].tolist() == [0, 0, 0]
    others = np.delete(often, [3, 11, 20])
    assert others.min() > 10 and others.max() < 66
    assert set(alfa_mix_select(features, counts, 2, generator()).tolist()) < {3, 11, 20}
    assert set(alfa_mix_select(features, counts, 40, generator()).tolist()) == set(range(40))


def test_functions_with_other_anchors_are_other_functions():
    model, plain = network(4, 2), ALFAMix()
    pool, labels = rectified(20, 4, 6), torch.tensor([0, 1])
    one, other = (anchored(plain, model, rectified(2, 4, seed), labels) for seed in (7, 8))
    assert one != other and one == one and one.epsilon == plain.epsilon
    assert repr(one) == "ALFAMix(epsilon=0.2, steps=5, anchors=<2 of 4 features>)"
    assert plain.anchors is None and not plain.summarize(model, pool)["changes"].any()
    # Told again, it forgets the anchors that it had.
    assert torch.equal(anchored(one, model, rectified(2, 4, 8), labels).anchors.means, other.anchors.means)


def test_what_makes_no_sense_is_refused():
    for wrong in (0, -1.0, math.inf, math.nan, True, "0.2"):
        with pytest.raises(DalError, match="epsilon: expected a finite number above 0, got"):
            ALFAMix(wrong)
    with pytest.raises(DalError, match="steps: expected a whole number of at least 1, got 0"):
        ALFAMix(steps=0)
    with pytest.raises(DalError, match="labels: expected a class for at least one labeled point, got none for"):
        class_anchors(torch.zeros(2, 3), torch.tensor([-2, -2]))
    with pytest.raises(DalError, match=r"labels: expected shape \(2,\), as features, got \(1,\)"):
        class_anchors(torch.zeros(2, 3), torch.tensor([0]))
    with pytest.raises(DalError, match=r"changes: expected shape \(4, S\), one row per point, got \(3, 1\)"):
        alfa_mix_select(torch.zeros(4, 2), torch.zeros(3, 1), 1, generator())
    with pytest.raises(NonFiniteError, match="changes: expected finite numbers, got nan at row 0 of 1"):
        alfa_mix_select(torch.zeros(1, 2), torch.tensor([[torch.nan]]), 1, generator())
    model = network(3, 2)
    reads = anchored(ALFAMix(), model, rectified(2, 3, 0), torch.tensor([0, 1]))
    model.head = lambda features: torch.zeros(len(features), 2)
    with pytest.raises(DalError, match="head: expected a differentiable layer, got one without gradients"):
        reads.summarize(model, torch.ones(2, 3))


def test_one_class_leaves_nothing_to_change():
    model = network(3, 1)
    reads = anchored(ALFAMix(), model, rectified(2, 3, 0), torch.tensor([0, 0]))
    assert not reads.summarize(model, rectified(5, 3, 1))["changes"].any()
