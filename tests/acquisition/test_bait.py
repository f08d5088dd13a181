"""BAIT: the picks and traces of an obvious loop that forms every Fisher matrix and inverts anew for every point."""

import sys

import numpy as np
import pytest
import torch

from dal.acquisition import BAIT, bait_select
from dal.acquisition.search import fisher
from dal.errors import DalError, NonFiniteError


def drawn(seed, num_points, num_classes=3, num_features=4, spread=2.0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    probs = (spread * torch.randn(num_points, num_classes, generator=g, dtype=torch.float64)).softmax(dim=1)
    return probs, torch.randn(num_points, num_features, generator=g, dtype=torch.float64).to(dtype)


def information(p, h, form):
    p, h = np.asarray(p, np.float64), np.asarray(h, np.float64)
    if form == "binary":
        return max(p) * (1 - max(p)) * np.outer(h, h)
    return np.kron(np.diag(p) - np.outer(p, p), np.outer(h, h))


def reference(probs, features, labeled_probs, labeled_features, query_size, form, regularization=1.0, oversampling=2):
    """Positions and falls, every trace from an inverse."""
    of = [information(p, h, form) for p, h in zip(probs, features, strict=True)]
    target = sum(of) / len(of)
    m = regularization * np.eye(len(target))
    for p, h in zip(labeled_probs, labeled_features, strict=True):
        m = m + information(p, h, form)

    def trace(matrix):
        return float(np.trace(np.linalg.inv(matrix) @ target))

    taken, falls = [], []
    for _ in range(min(len(of), oversampling * query_size)):
        fall = [-np.inf if i in taken else trace(m) - trace(m + of[i]) for i in range(len(of))]
        taken.append(int(np.argmax(fall)))
        falls.append(max(fall))
        m = m + of[taken[-1]]
    while len(taken) > query_size:
        rise = [trace(m - of[i]) - trace(m) for i in taken]
        place = int(np.argmin(rise))
        m = m - of[taken[place]]
        taken.pop(place)
        falls.pop(place)
    return taken, falls


@pytest.mark.parametrize("form", ["exact", "binary"])
@pytest.mark.parametrize("seed", range(6))
def test_picks_and_falls_of_the_loop_that_inverts_anew(form, seed, monkeypatch):
    if seed % 2:
        monkeypatch.setattr(fisher, "_BLOCK", 50)
    num_classes, num_labeled = 2 + seed % 3, 5 * (seed % 3)
    dtype = [torch.float64, torch.float32, torch.bfloat16][seed % 3]
    probs, features = drawn(seed, 30, num_classes, dtype=dtype)
    labeled = drawn(seed + 100, num_labeled, num_classes, dtype=dtype)
    regularization = [1.0, 0.01][seed % 2]
    arguments = probs.numpy(), features.double().numpy(), labeled[0].numpy(), labeled[1].double().numpy(), 6, form
    positions, falls = reference(*arguments, regularization)
    found = bait_select(probs, features, *labeled, 6, form=form, regularization=regularization)
    assert found.tolist() == positions
    function = BAIT(form=form, regularization=regularization)
    pool, others = (summary(function_parts(p, form), h) for p, h in ((probs, features), labeled))
    selection = function.select(pool, others, 6, torch.Generator())
    assert selection.positions.tolist() == positions
    torch.testing.assert_close(selection.scores, torch.tensor(falls, dtype=torch.float64), rtol=1e-8, atol=1e-12)


def summary(parts, features):
    return {"class_parts": parts, "inputs": features}


def function_parts(probs, form):
    q = probs.max(dim=1, keepdim=True).values
    return probs if form == "exact" else (q * (1 - q)).sqrt()


@pytest.mark.parametrize("oversampling,query_size", [(1, 8), (3, 4), (2, 20), (2, 15)])
def test_oversampling_up_to_the_whole_pool(oversampling, query_size):
    probs, features = drawn(7, 20)
    expected, _ = reference(probs.numpy(), features.numpy(), [], [], query_size, "exact", 1.0, oversampling)
    empty = probs[:0], features[:0]
    assert bait_select(probs, features, *empty, query_size, oversampling=oversampling).tolist() == expected


def test_points_are_given_back():
    """What a greedy choice took first is not always what it keeps."""
    changed = 0
    for seed in range(10):
        probs, features = drawn(seed, 40)
        empty = probs[:0], features[:0]
        forward = bait_select(probs, features, *empty, 5, oversampling=1).tolist()
        changed += forward != bait_select(probs, features, *empty, 5).tolist()
    assert changed > 2


@pytest.mark.parametrize("form,width", [("exact", 20), ("binary", 10)])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_many_updates_keep_their_digits(form, width, scale):
    """After hundreds of updates, with features of very different sizes, changes are those of fresh inverses."""
    probs, features = drawn(3, 300, 3, 10)
    features = features * torch.logspace(-2, 2, 10, dtype=torch.float64) * scale
    parts = probs if form == "exact" else function_parts(probs, form)
    points = fisher.Informative(sys.modules["dal.acquisition.bait"]._class_factors(parts, form), features)
    target, start = points.information() / 300, torch.eye(width, dtype=torch.float64)
    trace = fisher.Trace(points, start.clone(), target)
    for row in range(200):
        trace.update(row, 1)
        if row in (3, 50, 199):
            collected = start + points.at(torch.arange(row + 1)).information()
            found, expected = trace.changes(1), fisher.Trace(points, collected, target).changes(1)
            assert float((found - expected).abs().max() / expected.max()) < 1e-7
    # What there is to gain has fallen by many orders of magnitude, and the inverse was seldom made anew.
    assert 1 < trace.num_inversions < 12
    trace = fisher.Trace(points, trace.collected, target)
    for row in range(0, 100, 2):
        trace.update(row, -1)
    rows = torch.tensor([i for i in range(200) if i >= 100 or i % 2])
    found, expected = (
        trace.changes(-1)[rows],
        fisher.Trace(points, start + points.at(rows).information(), target).changes(-1)[rows],
    )
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=0)


def test_points_that_alone_know_a_direction_are_kept():
    """Without them what is known of it is the regularization alone, which drowns in rounding."""
    probs = torch.full((4, 2), 0.5, dtype=torch.float64)
    for seed in range(1480, 2060):
        axes = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
        features = torch.from_numpy(1e5 * axes[[0, 0, 1, 2]])
        empty = probs[:0], features[:0]
        found = bait_select(probs, features, *empty, 3, form="binary", regularization=1e-6)
        assert {2, 3} <= set(found.tolist()), seed


def test_a_point_that_alone_knows_a_direction_can_be_given_back():
    """What is left without it drowns in rounding, which must not end in a number that has no root."""
    probs = torch.tensor([[0.5, 0.5], [0.6, 0.4], [0.5, 0.5]], dtype=torch.float64)
    features = torch.tensor([[1e9, 0.0], [1.0, 1e9], [1.0, 1.0]], dtype=torch.float64)
    found = bait_select(probs, features, probs[:0], features[:0], 1, oversampling=3)
    assert len(found) == 1


@pytest.mark.parametrize("seed", range(30))
def test_hopeless_regularization_ends_in_a_choice_or_in_one_sentence(seed):
    """Features of very different sizes, and less regularization than float64 can tell from none."""
    rng = np.random.default_rng(seed)
    features = torch.from_numpy(rng.normal(size=(12, 4)) * 10.0 ** rng.uniform(-4, 4, 4))
    probs = torch.from_numpy(rng.dirichlet([0.3] * 3, 12))
    try:
        found = bait_select(probs, features, probs[:0], features[:0], 3, oversampling=3, regularization=1e-12)
        assert len(set(found.tolist())) == 3
    except DalError as error:
        assert "regularization: expected a value" in str(error)


def test_numbers_that_overflow_end_in_one_sentence():
    probs = torch.full((3, 2), 0.5, dtype=torch.float64)
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64) * 1e60
    empty = probs[:0], features[:0]
    with pytest.raises(DalError, match="regularization: expected a value that keeps"):
        bait_select(probs, features, *empty, 3, form="binary", regularization=1e-40, oversampling=1)


def test_one_class_has_nothing_to_tell():
    probs, features = torch.ones(3, 1), torch.eye(3)
    assert bait_select(probs, features, probs[:0], features[:0], 2, oversampling=1).tolist() == [0, 1]


def test_rounding_of_half_precision_is_taken_out():
    probs, features = drawn(5, 30)
    halves = probs.half().double()
    sums = halves.sum(dim=1, keepdim=True)
    assert float((sums - 1).abs().max()) > 1e-5
    found, expected = (BAIT().select(summary(p, features), {}, 5, torch.Generator()) for p in (halves, halves / sums))
    assert found.positions.tolist() == expected.positions.tolist()
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-12, atol=0)


def test_directions_that_change_no_probability_are_left_out():
    rows = sys.modules["dal.acquisition.bait"]._contrasts(5)
    torch.testing.assert_close(rows @ rows.T, torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(rows.sum(dim=1), torch.zeros(4, dtype=torch.float64))


def test_by_hand():
    # Binary, probabilities of a half: information h h^T / 4. M is 1, U is (16 + 4 + 4) / 4 / 3 = 2 in one dimension, so
    # the point at 4 leaves 2 / 5 of it, those at 2 leave 2 / 2. After 4, one at 2 goes from 2 / 5 to 2 / 6.
    probs, features = torch.full((3, 2), 0.5), torch.tensor([[2.0], [4.0], [-2.0]])
    function = BAIT(form="binary", oversampling=1)
    pool, empty = summary(torch.full((3, 1), 0.5), features), summary(torch.zeros(0, 1), features[:0])
    found = function.select(pool, empty, 2, torch.Generator())
    assert found.positions.tolist() == [1, 0]
    torch.testing.assert_close(found.scores, torch.tensor([2 - 2 / 5, 2 / 5 - 2 / 6], dtype=torch.float64))
    assert bait_select(probs, features, probs[:0], features[:0], 2, form="binary").tolist() == [1, 0]
    # A labeled point there makes the second one worth less than it was.
    labeled = summary(torch.full((1, 1), 0.5), torch.tensor([[4.0]]))
    assert function.select(pool, labeled, 1, torch.Generator()).scores.tolist() == pytest.approx([2 / 5 - 2 / 9])


def test_labeled_directions_are_avoided():
    probs = torch.full((3, 2), 0.5)
    features = torch.tensor([[3.0, 0.0], [0.0, 2.9], [3.0, 0.1]])
    for form in ("exact", "binary"):
        assert bait_select(probs, features, probs[:0], features[:0], 1, form=form).tolist() == [2]
        labeled = probs[[0, 0]], features[[0, 0]]
        assert bait_select(probs, features, *labeled, 1, form=form, oversampling=1).tolist() == [1]


def test_two_classes_are_the_same_question_in_both_forms():
    probs, features = drawn(5, 40, 2)
    labeled = drawn(6, 7, 2)
    # Exact information is twice as much in the one direction that there is: (1, -1) has length sqrt(2).
    exact = bait_select(probs, features, *labeled, 8, regularization=2.0)
    assert torch.equal(exact, bait_select(probs, features, *labeled, 8, form="binary"))


def test_very_sure_points_keep_their_digits(fake_model):
    model = fake_model.random(30)
    model.head_matrix = model.head_matrix * 30
    parts = BAIT(form="binary").summarize(model, torch.arange(30))["class_parts"]
    logits = model.head(model.feature_table).double()
    logits = logits - logits.max(dim=1, keepdim=True).values
    others = (logits.exp().sum(dim=1) - 1).clamp(min=0)
    tiny = logits.exp().sort(dim=1, descending=True).values[:, 1:].sum(dim=1)
    expected = (tiny / (1 + tiny) ** 2).sqrt()
    assert float(tiny.min()) < 1e-20 and float(others.min()) == 0
    torch.testing.assert_close(parts[:, 0], expected, rtol=1e-10, atol=0)


def test_ten_thousand_points_in_blocks(largest_tensor):
    probs, features = drawn(0, 10_000, 10, 32, dtype=torch.float32)
    with largest_tensor(probs, features) as largest:
        found = bait_select(probs, features, probs[:20], features[:20], 10, form="binary")
    assert len(set(found.tolist())) == 10
    assert largest.num_bytes <= 2**23


def test_exact_form_that_is_too_large_is_refused():
    probs, features = torch.full((10, 100), 0.01), torch.zeros(10, 512)
    with pytest.raises(
        DalError,
        match=r"form: expected binary, .* limited to 2 GiB, got 'exact with 114\.\d GiB for 10 points, 100 classes",
    ):
        bait_select(probs, features, probs[:0], features[:0], 2)
    assert bait_select(probs, features, probs[:0], features[:0], 2, form="binary").tolist() == [0, 1]


def test_what_makes_no_sense_is_refused():
    probs, features = drawn(0, 5)
    empty = probs[:0], features[:0]
    with pytest.raises(DalError, match=r"form: expected one of binary, exact, got 'exakt' \(did you mean exact\?\)"):
        BAIT(form="exakt")
    with pytest.raises(DalError, match="regularization: expected a number above 0, got 0"):
        BAIT(regularization=0)
    with pytest.raises(DalError, match="oversampling: expected a whole number of at least 1, got 0"):
        BAIT(oversampling=0)
    with pytest.raises(
        DalError, match=r"probs: expected rows of probabilities that sum to 1, got .*a sum of 2 .* at row 0"
    ):
        bait_select(probs * 2, features, *empty, 1)
    with pytest.raises(DalError, match="features: expected 5 and 0 rows, as in probs, got 4"):
        bait_select(probs, features[:4], *empty, 1)
    with pytest.raises(
        DalError, match="labeled_features: expected 3 classes and 4 features, as in the pool, got '3 and 2'"
    ):
        bait_select(probs, features, probs[:1], features[:1, :2], 1)
    with pytest.raises(NonFiniteError, match="features: expected finite numbers, got nan at row 4 of 5"):
        bait_select(probs, torch.cat([features[:4], torch.full((1, 4), torch.nan)]), *empty, 1)
    with pytest.raises(DalError, match="regularization: expected a value that keeps the Fisher information invertible"):
        bait_select(probs, features, probs[:1], features[:1] * 1e30, 1)
