"""BatchBALD: joint entropies over all labels by slow loops, exact values of long batches, and what others get wrong."""

import itertools
import math

import numpy as np
import pytest
import torch

from dal.acquisition import BatchBALD, DiskRows, Shard, bald_scores, batchbald, batchbald_select
from dal.errors import DalError, NonFiniteError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(seed, num_points, num_draws, num_classes, spread=1.0, dtype=torch.float64):
    shape = num_points, num_draws, num_classes
    common = torch.randn(num_points, 1, num_classes, generator=generator(seed), dtype=torch.float64)
    own = torch.randn(shape, generator=generator(seed + 1), dtype=torch.float64)
    return (common + spread * own).log_softmax(dim=2).to(dtype)


def joint_information(probs, batch):
    """I(y_1 ... y_n; w) over all C^n labels, one after the other."""
    num_draws, num_classes = probs.shape[1:]
    joint_entropy = 0.0
    for labels in itertools.product(range(num_classes), repeat=len(batch)):
        p = 0.0
        for k in range(num_draws):
            of_draw = 1.0
            for point, label in zip(batch, labels, strict=True):
                of_draw *= probs[point, k, label]
            p += of_draw / num_draws
        joint_entropy -= p * math.log(p) if p > 0 else 0.0
    given_draw = 0.0
    for point in batch:
        for k in range(num_draws):
            given_draw -= sum(p * math.log(p) for p in probs[point, k] if p > 0) / num_draws
    return joint_entropy - given_draw


def greedy(probs, query_size):
    """Positions, and what each added."""
    positions, gains = [], []
    for _ in range(query_size):
        left = [i for i in range(len(probs)) if i not in positions]
        best = max(left, key=lambda i: joint_information(probs, [*positions, i]))
        gains.append(joint_information(probs, [*positions, best]) - sum(gains))
        positions.append(best)
    return positions, gains


@pytest.mark.parametrize(("seed", "num_draws", "num_classes"), [(0, 3, 4), (1, 5, 3), (2, 7, 2), (3, 4, 3)])
def test_batch_is_that_of_joint_entropies_over_all_labels(seed, num_draws, num_classes):
    log_probs = drawn(seed, 9, num_draws, num_classes, spread=2.0)
    log_probs[4, 1] = torch.tensor([0.0] + [-torch.inf] * (num_classes - 1))
    found = batchbald_select(log_probs, 4, generator())
    positions, gains = greedy(log_probs.exp().numpy(), 4)
    assert found.positions.tolist() == positions
    torch.testing.assert_close(found.scores, torch.tensor(gains, dtype=torch.float64), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("num_joint_samples", [1, 3, 10_000])
def test_first_pick_is_the_best_of_bald_with_its_score(num_joint_samples):
    log_probs = drawn(5, 300, 6, 10, dtype=torch.float32)
    found = batchbald_select(log_probs, 4, generator(), num_joint_samples=num_joint_samples)
    scores = bald_scores(log_probs)
    assert int(found.positions[0]) == int(scores.argmax()) and found.positions.shape == (4,)
    assert float(found.scores[0]) == pytest.approx(float(scores.max()), rel=1e-12)


def test_by_hand():
    """Four equal draws; a and b tell two halves of them apart, c repeats a, d tells one from three."""
    a, b = [[1, 0], [1, 0], [0, 1], [0, 1]], [[1, 0], [0, 1], [1, 0], [0, 1]]
    d = [[0, 1], [1, 0], [1, 0], [1, 0]]
    positions, gains = batchbald_select(torch.tensor([d, a, a, b]).log(), 4, generator())
    assert set(positions[:2].tolist()) in ({1, 3}, {2, 3})
    torch.testing.assert_close(gains, torch.tensor([1, 1, 0, 0]).double() * math.log(2), rtol=1e-14, atol=1e-15)


def joint_labels(log_probs, taken, most, seed=0):
    labels = batchbald._JointLabels(log_probs.shape[1], most, torch.device("cpu"), generator(seed))
    for point in taken:
        labels.add(log_probs[point])
    return labels


@pytest.mark.parametrize("most", [1003, 5])
def test_sampled_labels_tell_what_all_labels_tell(most):
    log_probs = drawn(7, 20, 8, 6)
    taken = [3, 11, 0, 17]
    exact, no_error = joint_labels(log_probs, taken, 6**4).tell(log_probs.exp())
    assert joint_labels(log_probs, taken, 6**4).are_all and not no_error.any()
    samples = [joint_labels(log_probs, taken, most, seed) for seed in range(60)]
    assert not any(labels.are_all for labels in samples) and samples[0].count == most
    found, errors = (torch.stack(x) for x in zip(*(labels.tell(log_probs.exp()) for labels in samples), strict=True))
    # Of 20 means of 60, none is five of its standard errors off; and the errors that are told are right, or more than
    # that, as draws are gone through evenly.
    assert float(((found.mean(dim=0) - exact).abs() / (found.std(dim=0) / math.sqrt(60))).max()) < 5
    if most > 100:
        ratio = found.std(dim=0) / errors.mean(dim=0)
        assert float(ratio.max()) < 1.3 and float(errors.max()) < 0.02


def noisy_bits(num_points, flipped, num_classes):
    """Two draws: every point is a look at one bit, wrong with probability ``flipped``, spread over many classes."""
    half = num_classes // 2
    rows = [[1 - flipped] * half + [flipped] * half, [flipped] * half + [1 - flipped] * half]
    return (torch.tensor(rows, dtype=torch.float64) / half).log().expand(num_points, -1, -1)


def information_of_looks(num_looks, flipped):
    """In nats, of the bit and so many looks, whose sum is all that matters; exact, by the binomial distribution."""
    information = 0.0
    for wrong in range(num_looks + 1):
        p0 = math.comb(num_looks, wrong) * flipped**wrong * (1 - flipped) ** (num_looks - wrong)
        p1 = math.comb(num_looks, wrong) * (1 - flipped) ** wrong * flipped ** (num_looks - wrong)
        for p in (p0, p1):
            information += p / 2 * math.log(p / ((p0 + p1) / 2))
    return information


def test_long_batches_keep_their_digits():
    """120 labels of 10 classes have joint probabilities near 1e-120, which float32 has not."""
    found = batchbald_select(noisy_bits(124, 0.45, 10), 120, generator(), num_joint_samples=2000)
    assert len(set(found.positions.tolist())) == 120
    so_far = found.scores.cumsum(dim=0)
    for count in (1, 2, 4, 5, 20, 50, 100, 120):
        exact = information_of_looks(count, 0.45)
        assert float(so_far[count - 1]) == pytest.approx(exact, rel=1e-11 if count < 5 else 0.04), count
    assert information_of_looks(120, 0.45) < 0.6 * math.log(2)
    assert float(found.scores.min()) > 0


def test_what_is_left_when_all_is_known_is_random_and_distinct():
    one_hot = torch.eye(2, dtype=torch.float64).log().expand(30, -1, -1)
    firsts = set()
    for seed in range(8):
        positions, gains = batchbald_select(one_hot, 30, generator(seed))
        assert sorted(positions.tolist()) == list(range(30))
        assert float(gains[0]) == pytest.approx(math.log(2)) and not gains[1:].any()
        firsts.add(tuple(positions[:3].tolist()))
    assert len(firsts) == 8


def test_hundreds_of_picks_past_what_the_draws_hold_are_finite_and_distinct():
    positions, gains = batchbald_select(drawn(3, 250, 6, 10, 3.0), 250, generator(), num_joint_samples=500)
    assert sorted(positions.tolist()) == list(range(250))
    assert bool(torch.isfinite(gains).all()) and float(gains.min()) >= 0
    # Labels cannot tell more than which of the draws it is; the sum is an estimate.
    assert float(gains.sum()) == pytest.approx(math.log(6), rel=0.05)


@pytest.mark.parametrize("are_all", [True, False])
def test_a_few_joint_labels_bound_what_all_tell(are_all):
    log_probs = drawn(13, 400, 8, 6)
    probs = log_probs.exp()
    for seed in range(5):
        labels = joint_labels(log_probs, range(seed, seed + 5), 6**5 if are_all else 6**5 - 1, seed)
        assert labels.are_all == are_all and labels.count_of_few == 1024 < labels.count
        gains, bounds = labels.tell(probs)[0], labels.tell_at_most(probs)
        assert bool((gains < bounds).all())
        # Near enough to be of use.
        unknown = float(torch.special.entr(labels._draws).sum(dim=1) @ labels._weights)
        assert float((bounds - gains).max()) < 0.15 * unknown


def of_bits(shares, num_classes):
    """(16, C) log-probabilities of draws, whose numbers have four bits, from those of the first few classes; the rest
    is spread evenly over the others."""
    rest = (1 - shares.sum(dim=1, keepdim=True)) / (num_classes - shares.shape[1])
    return torch.cat([shares, rest.expand(-1, num_classes - shares.shape[1])], dim=1).log()


@pytest.mark.parametrize("seed", range(6))
def test_a_few_joint_labels_are_not_in_step_with_the_draws(seed):
    """Samples go through the draws by turns; of 16 draws, every 16th sample is always the same one's."""
    bits = torch.arange(16)[:, None] >> torch.arange(4) & 1
    sure = torch.eye(4, dtype=torch.float64) * (1 - 1e-6)
    first, second = sure[bits[:, 0] + 2 * bits[:, 1]], sure[bits[:, 2]]
    third = sure[torch.where(bits[:, 0] == 1, 1 + bits[:, 3], 0)]
    labels = batchbald._JointLabels(16, 16384, torch.device("cpu"), generator(seed))
    for point in (first, second):
        labels.add(of_bits(point, 130))
    probs = of_bits(third, 130).exp()[None]
    assert labels.count_of_few < labels.count
    gain, bound = labels.tell(probs)[0], labels.tell_at_most(probs)
    assert float(gain) > 0.3 and float(bound) > float(gain)


@pytest.mark.parametrize("num_joint_samples", [2000, 5000])
def test_bounds_leave_out_no_point_that_would_have_been_taken(num_joint_samples, monkeypatch):
    log_probs = drawn(11, 60, 10, 4)
    rows = log_probs.flatten(1)
    chosen = {}
    for looks_at_all in (False, True):
        g = generator(2)
        if looks_at_all:
            monkeypatch.setattr(batchbald, "_FEW", 10**6)
        labels = batchbald._JointLabels(10, num_joint_samples, rows.device, g)
        batch = batchbald._Batch(rows, labels, g)
        chosen[looks_at_all], by_few = [], list[bool]()
        for _ in range(14):
            if looks_at_all:
                batch.bounds[batch.bounds >= 0] = math.inf
            position, gain = batch.take(labels)
            chosen[looks_at_all].append((position, pytest.approx(gain, rel=1e-12)))
            labels.add(batch.log_probs(torch.tensor([position]))[0])
            by_few.append(labels.count_of_few < labels.count)
        assert not labels.are_all
        assert any(by_few) == (num_joint_samples > 2048 and not looks_at_all)
    assert chosen[False] == chosen[True]


def test_copies_are_not_taken_twice():
    distinct_points = drawn(9, 6, 12, 5, 2.0)
    copies = distinct_points.repeat_interleave(10, dim=0)
    top_of_bald = bald_scores(copies).topk(4).indices // 10
    assert len(set(top_of_bald.tolist())) == 1
    assert len(set((batchbald_select(copies, 4, generator()).positions // 10).tolist())) == 4


def test_blocks_are_small_whatever_the_pool(largest_tensor):
    log_probs = drawn(1, 1000, 20, 10, dtype=torch.float32)
    watch = largest_tensor(log_probs)
    with watch:
        batchbald_select(log_probs, 5, generator())
    # 10,000 joint labels and 20 draws; the pool in float64 were the same again.
    assert 10_000 * 20 * 8 <= watch.num_bytes <= 1.2 * 10_000 * 20 * 8


def test_rows_on_disk_stay_there_and_make_no_difference(tmp_path):
    rows = drawn(1, 300, 20, 5, dtype=torch.float32).flatten(1)
    np.save(tmp_path / "rows.npy", rows.numpy())
    function = BatchBALD(num_joint_samples=50)
    expected = function.select({"log_probs": rows}, {}, 8, generator())
    found = function.select_in(Shard.alone(300), {"log_probs": DiskRows(tmp_path / "rows.npy")}, {}, 8, generator())
    assert torch.equal(found.positions, expected.positions) and torch.equal(found.scores, expected.scores)


def test_what_makes_no_sense_is_refused():
    for shape in [(3, 4), (3, 1, 4), (3, 2, 0)]:
        with pytest.raises(DalError, match="log_probs: expected"):
            batchbald_select(torch.zeros(shape), 1, generator())
    bad = torch.zeros(30, 2, 4)
    bad[17, 1, 2] = torch.nan
    with pytest.raises(NonFiniteError, match="got nan at row 17 of 30"):
        batchbald_select(bad, 1, generator())
    for number in (0, True, 2.0):
        with pytest.raises(DalError, match="num_joint_samples: expected a whole number of at least 1"):
            batchbald_select(torch.zeros(3, 2, 4), 1, generator(), num_joint_samples=number)
        with pytest.raises(DalError, match="num_joint_samples"):
            BatchBALD(num_joint_samples=number)
        with pytest.raises(DalError, match="num_draws: expected a whole number of at least 2"):
            BatchBALD(num_draws=number if number != 2.0 else 1)
