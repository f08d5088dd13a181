"""BADGE: the weights of gradients that are formed, and the distribution of exact k-means++ on them."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from dal.acquisition import BADGE, badge, badge_select, badge_weights
from dal.acquisition.search import exponential_race as race
from dal.acquisition.search import geometry, nearest, small_pool
from dal.acquisition.search.numbers import safe_scale
from dal.acquisition.search.rows import DiskRows
from dal.errors import DalError, NonFiniteError


@pytest.fixture(params=[{}, small_pool.MOST_NUMBERS], ids=["large", "small"])
def engine(request, monkeypatch):
    """Run as in a large pool, and as in one that fits in a cache."""
    monkeypatch.setattr(small_pool, "MOST_NUMBERS", request.param)


def drawn(seed, num_points, num_classes, num_features, spread=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    probs = (spread * torch.randn(num_points, num_classes, generator=generator, dtype=torch.float64)).softmax(dim=1)
    return probs, torch.randn(num_points, num_features, generator=generator, dtype=torch.float64).to(dtype)


def assert_weights(references, probs, features, chosen, rtol=1e-9, atol=0.0):
    points = references.gradients(probs.double().numpy(), features.double().numpy())
    for count in range(len(chosen) + 1):
        found = badge_weights(probs, features, chosen[:count])
        assert found.dtype == torch.float64
        expected = torch.from_numpy(references.k_means_weights(points, chosen[:count]))
        torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("seed", range(8))
def test_weights_at_every_step_are_those_of_formed_gradients(seed, references):
    dtype = [torch.float64, torch.float32, torch.float16, torch.bfloat16][seed % 4]
    probs, features = drawn(seed, 40, 2 + seed, 3 + 2 * seed, spread=1 + seed, dtype=dtype)
    chosen = badge_select(probs, features, 12, torch.Generator().manual_seed(seed)).tolist()
    assert_weights(references, probs, features, chosen)


def test_weights_by_hand():
    # Gradients: (-1/2, 1/2) x (2, 0), (1/4, -1/4) x (0, 4) and (0, 0) x (3, 3).
    probs = torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.0, 1.0]])
    features = torch.tensor([[2.0, 0.0], [0.0, 4.0], [3.0, 3.0]])
    assert badge_weights(probs, features, []).tolist() == [1.0, 1.0, 1.0]
    assert badge_weights(probs, features, [2]).tolist() == [2.0, 2.0, 0.0]
    assert badge_weights(probs, features, [0]).tolist() == [0.0, 4.0, 2.0]


def test_duplicates_weigh_exactly_nothing_and_near_ones_keep_their_digits(references):
    probs, features = drawn(0, 6, 5, 7, spread=2.0)
    probs, features = probs[[0, 0, 0, 0, 1, 2]], features[[0, 0, 0, 0, 1, 2]].clone()
    features[2] *= 1 + 1e-7
    features[3, 0] += 1e-9
    found = badge_weights(probs, features, [0])
    assert found[:2].tolist() == [0.0, 0.0]
    points = references.gradients(probs.numpy(), features.numpy())
    expected = torch.from_numpy(references.k_means_weights(points, [0]))
    # Formed gradients lose digits here themselves: seven of sixteen are left at a relative distance of 1e-9.
    torch.testing.assert_close(found[2:4], expected[2:4], rtol=1e-6, atol=0)
    torch.testing.assert_close(found[4:], expected[4:], rtol=1e-9, atol=0)
    # Beside the length of the center, |g|² (1e-7)² is the whole difference of a point that is only longer.
    assert float(found[2]) == pytest.approx(float((points[0] ** 2).sum()) * 1e-14, rel=1e-6)


@pytest.mark.parametrize("apart", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
def test_digits_are_kept_however_near_the_points_are(apart, references):
    generator = torch.Generator().manual_seed(0)
    logits, features = (torch.randn(1, 6, generator=generator, dtype=torch.float64).repeat(20, 1) for _ in range(2))
    logits = logits + apart * torch.randn(20, 6, generator=generator, dtype=torch.float64)
    features = features + apart * torch.randn(20, 6, generator=generator, dtype=torch.float64)
    assert_weights(references, logits.softmax(dim=1), features, [0], rtol=1e-10)


def test_form_for_near_points_is_exact_for_far_ones_too():
    generator = torch.Generator().manual_seed(0)
    a, h, a_center, h_center = (torch.randn(20, 4, generator=generator, dtype=torch.float64) for _ in range(4))
    a_center[0], h_center[1] = 0, 0
    formed = a[:, :, None] * h[:, None] - a_center[:, :, None] * h_center[:, None]
    found = geometry.squared_distances_of_close(a, h, a_center, h_center)
    torch.testing.assert_close(found, formed.square().sum(dim=(1, 2)), rtol=1e-12, atol=0)


def test_equal_gradients_of_unequal_factors_weigh_nothing():
    # Twice the features at half the error of prediction: the same gradient.
    probs = torch.tensor([[0.4, 0.6], [0.2, 0.8], [0.7, 0.3]], dtype=torch.float64)
    features = torch.tensor([[1.0, 2.0], [2.0, 4.0], [1.0, 1.0]], dtype=torch.float64)
    weights = badge_weights(probs, features, [0])
    assert float(weights[1]) < 1e-30 < float(weights[2])


@pytest.mark.parametrize("scale", [1e-150, 1e-18, 1e18, 1e150])
def test_weights_follow_the_scale_of_the_features(scale):
    probs, features = drawn(2, 30, 4, 5)
    weights = badge_weights(probs, features, [3, 8])
    torch.testing.assert_close(badge_weights(probs, features * scale, [3, 8]) / scale**2, weights, rtol=1e-9, atol=0)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("scale", [2.0**-700, 2.0**700])
def test_choice_does_not_depend_on_a_scale_that_cannot_be_squared(scale):
    probs, features = drawn(2, 30, 4, 5)
    select = BADGE().select
    expected, found = (
        select(summary(errors(probs), features * s), {}, 10, torch.Generator().manual_seed(0)) for s in (1.0, scale)
    )
    assert torch.equal(found.positions, expected.positions)
    torch.testing.assert_close(found.scores / scale, expected.scores, rtol=1e-12, atol=0)


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e30])
def test_features_that_single_precision_cannot_square(scale):
    probs, features = drawn(2, 30, 4, 5)
    features = (features * scale).float()
    found = badge_select(probs, features, 10, torch.Generator().manual_seed(0))
    assert torch.equal(found, badge_select(probs, features.double() / scale, 10, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("size", [1.0, 2.0**29])
def test_bounds_hold_where_errors_are_tiny(size):
    """Errors that vanish when they are multiplied in float32, beside features that would bring them back."""
    generator = torch.Generator().manual_seed(0)
    errors = 1e-22 * torch.randn(40, 30, generator=generator)
    features = size * torch.rand(40, 4, generator=generator)
    gradients = geometry.Gradients(errors, features, safe_scale(float(features.max()), most=1.0))
    centers = nearest.Centers(gradients, None, 3)
    for row in gradients.high(torch.tensor([3, 5, 8])):
        centers.add(row)
    search = nearest.NearestCenters(gradients, centers)
    search.lower_all(3)
    bounds = search.squares.clone()
    assert bool((bounds >= search.distances(torch.arange(40))).all())


def test_distances_that_were_known_are_found_again_when_bounds_were_lowered():
    probs, features = drawn(3, 50, 4, 6, dtype=torch.float32)
    gradients = geometry.Gradients(errors(probs), features, 1.0)
    centers, rows = nearest.Centers(gradients, None, 9), torch.arange(50)
    search = nearest.NearestCenters(gradients, centers)
    for count, row in enumerate(gradients.high(torch.arange(9)), start=1):
        centers.add(row)
        known = search.distances(rows) if count == 4 else None
        search.lower_all(count)
        if known is not None:
            assert bool((search.squares <= known).all())
    alone = nearest.NearestCenters(gradients, centers).distances(rows)
    assert torch.equal(search.distances(rows), alone)


@pytest.mark.parametrize("kind", ["sure", "zero features", "all equal", "two kinds"])
def test_weights_of_degenerate_pools(kind, references):
    probs, features = drawn(3, 12, 4, 5)
    if kind == "sure":
        probs = torch.eye(4, dtype=torch.float64)[torch.arange(12) % 4]
    elif kind == "zero features":
        features = torch.zeros_like(features)
    elif kind == "all equal":
        probs, features = probs[:1].repeat(12, 1), features[:1].repeat(12, 1)
    elif kind == "two kinds":
        probs, features = probs[torch.arange(12) % 2], features[torch.arange(12) % 2]
    assert_weights(references, probs, features, [4, 7, 2])
    orders = {tuple(badge_select(probs, features, 3, torch.Generator().manual_seed(s)).tolist()) for s in range(60)}
    assert all(len(set(order)) == 3 for order in orders)
    if kind == "two kinds":
        assert all((order[0] - order[1]) % 2 == 1 for order in orders)
    # Nothing but chance decides where nothing is left to tell points apart.
    assert len({order[2] for order in orders}) > 6


def errors(probs):
    """What BADGE keeps of probabilities."""
    return probs - torch.nn.functional.one_hot(probs.argmax(dim=1), probs.shape[1])


def summary(errors, features):
    return {"errors": errors, "inputs": features}


@pytest.mark.usefixtures("engine")
def test_scores_are_the_distances_from_the_points_taken_before(references):
    probs, features = drawn(4, 15, 3, 4)
    positions, scores = BADGE().select(summary(errors(probs), features), {}, 15, torch.Generator().manual_seed(0))
    points = references.gradients(probs.numpy(), features.numpy())
    assert float(scores[0]) == pytest.approx(np.linalg.norm(points[positions[0]]), rel=1e-12)
    for step in range(1, 15):
        weights = references.k_means_weights(points, positions[:step].tolist())
        assert float(scores[step]) == pytest.approx(np.sqrt(weights[positions[step]]), rel=1e-9)


def test_summary_keeps_the_errors_of_very_sure_points(fake_model):
    # 1 - p would be 0 in float32.
    model = fake_model(torch.ones(1, 1), torch.tensor([[40.0, 0.0]]), None)
    found, features = BADGE().summarize(model, torch.tensor([0])).values()
    assert found.dtype == torch.float32 and torch.equal(features, torch.ones(1, 1))
    torch.testing.assert_close(found, torch.tensor([[-1.0, 1.0]]) * np.exp(-40.0), rtol=1e-6, atol=0)


def plain_picks(probs, features, query_size, seed):
    """The race by its definition, over weights that are all brought up to date for every draw."""
    generator, positions = torch.Generator().manual_seed(seed), []
    for _ in range(query_size):
        u = race.uniforms(race.draw_seed(generator), 0, len(probs))
        weights = badge_weights(probs, features, positions)
        weights[positions] = 0
        positions.append(int((weights / -torch.log1p(-u)).argmax()))
    return positions


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("seed", range(4))
def test_points_that_are_not_looked_at_change_nothing(seed):
    probs, features = drawn(seed, 700, 3 + seed, 6 + 10 * seed, spread=3.0, dtype=torch.float32)
    found = badge_select(probs, features, 90, torch.Generator().manual_seed(seed))
    assert found.tolist() == plain_picks(probs, features, 90, seed)


@pytest.mark.parametrize("change", ["blocks of few rows", "always up to date", "never again up to date"])
def test_picks_do_not_depend_on_blocks_or_on_what_is_up_to_date(change, monkeypatch):
    probs, features = drawn(7, 600, 5, 20, spread=3.0, dtype=torch.float32)
    expected = badge_select(probs, features, 150, torch.Generator().manual_seed(1))
    monkeypatch.setattr(small_pool, "MOST_NUMBERS", {})
    if change == "blocks of few rows":
        monkeypatch.setattr(nearest, "_BLOCK", 7 * 25)
    elif change == "always up to date":
        monkeypatch.setattr(badge, "CHUNK", 1)
    else:
        lower_all = nearest.NearestCenters.lower_all
        monkeypatch.setattr(nearest.NearestCenters, "lower_all", lambda self, stop: stop == 1 and lower_all(self, stop))
    assert torch.equal(badge_select(probs, features, 150, torch.Generator().manual_seed(1)), expected)


def test_most_points_are_not_looked_at(monkeypatch):
    """What makes it fast: the float64 distances of a few points a draw."""
    monkeypatch.setattr(small_pool, "MOST_NUMBERS", {})
    probs, features = drawn(8, 5000, 5, 20, spread=3.0, dtype=torch.float32)
    settle, settled = nearest.NearestCenters._settle, []
    monkeypatch.setattr(
        nearest.NearestCenters, "_settle", lambda self, rows: settled.append(len(rows)) or settle(self, rows)
    )
    badge_select(probs, features, 200, torch.Generator().manual_seed(0))
    assert 199 <= sum(settled) < 5 * 200


def test_few_classes_kept_of_many(fake_model):
    generator = torch.Generator().manual_seed(0)
    model = fake_model(torch.randn(60, 8, generator=generator), torch.randn(8, 30, generator=generator), None)
    x = torch.arange(60)
    errors_of_all, features = BADGE().summarize(model, x).values()
    for kept in (2, 5, 29):
        function = BADGE(top_classes=kept)
        pool = function.summarize(model, x)
        values, classes, same_features = pool.values()
        assert tuple(pool) == function.keeps == ("errors", "classes", "inputs") and BADGE().keeps == BADGE.keeps
        assert values.shape == classes.shape == (60, kept) and torch.equal(features, same_features)
        rebuilt = torch.zeros(60, 30).scatter_(1, classes.long(), values)
        lost = (errors_of_all - rebuilt).norm(dim=1)
        assert bool((lost <= errors_of_all.norm(dim=1) / (2 * (kept - 1) ** 0.5)).all())
        assert torch.equal(rebuilt.min(dim=1).values, errors_of_all.min(dim=1).values)
        found = function.select(pool, {}, 20, torch.Generator().manual_seed(3))
        expected = BADGE().select(summary(rebuilt, features), {}, 20, torch.Generator().manual_seed(3))
        assert torch.equal(found.positions, expected.positions)
    # No more classes are kept than there are.
    more = BADGE(top_classes=31)
    found = more.select(more.summarize(model, x), {}, 20, torch.Generator().manual_seed(3))
    expected = BADGE().select(BADGE().summarize(model, x), {}, 20, torch.Generator().manual_seed(3))
    assert torch.equal(found.positions, expected.positions) and torch.equal(found.scores, expected.scores)
    for wrong in (1, True, 2.5):
        with pytest.raises(
            DalError, match=r"top_classes: expected a whole number of at least 2 \(None keeps all classes\), got "
        ):
            BADGE(top_classes=wrong)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_on_disk_give_the_same_picks(dtype, tmp_path):
    probs, features = drawn(9, 300, 4, 10, dtype=torch.float32)
    features = features.numpy().astype(dtype)
    np.save(tmp_path / "probs.npy", probs.numpy())
    np.save(tmp_path / "features.npy", features)
    stored = DiskRows(tmp_path / "probs.npy"), DiskRows(tmp_path / "features.npy")
    found = badge_select(*stored, 60, torch.Generator().manual_seed(2), memory_budget=2**30)
    expected = badge_select(probs, torch.from_numpy(features), 60, torch.Generator().manual_seed(2))
    assert torch.equal(found, expected)


def test_picks_do_not_depend_on_the_precision_that_training_is_allowed():
    probs, features = drawn(10, 3000, 5, 64, dtype=torch.float32)
    expected = badge_select(probs, features, 40, torch.Generator().manual_seed(0))
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = badge_select(probs, features, 40, torch.Generator().manual_seed(0))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(found, expected)


SMALL = drawn(5, 6, 3, 2)
NUM_SEEDS = 1200


@pytest.fixture(scope="module")
def first_three():
    """How often each ordered choice of three came, over many seeds."""
    counts = {}
    for seed in range(NUM_SEEDS):
        order = tuple(badge_select(*SMALL, 3, torch.Generator().manual_seed(seed)).tolist())
        counts[order] = counts.get(order, 0) + 1
    return counts


def p_value(counts, probabilities):
    """Of a chi-square test; the choices that are expected less than 5 times are counted as one."""
    assert set(counts) <= set(probabilities)
    rare = [order for order, p in probabilities.items() if p * NUM_SEEDS < 5]
    common = [order for order in probabilities if order not in rare]
    observed = [counts.get(order, 0) for order in common]
    expected = [probabilities[order] * NUM_SEEDS for order in common]
    if rare:
        observed.append(sum(counts.get(order, 0) for order in rare))
        expected.append(sum(probabilities[order] for order in rare) * NUM_SEEDS)
    return chisquare(observed, np.array(expected) * (sum(observed) / sum(expected))).pvalue


def test_first_three_follow_exact_k_means_seeding(first_three, references):
    points = references.gradients(*(part.numpy() for part in SMALL))
    assert p_value(first_three, references.k_means_orders(points, 3)) > 1e-4


@pytest.mark.parametrize("wrong", ["distance", "last center only", "origin as a center", "largest norm"])
def test_wrong_weights_would_be_seen(first_three, references, wrong):
    points = references.gradients(*(part.numpy() for part in SMALL))
    right = references.k_means_weights

    def weights_of(points, chosen):
        weights = right(points, chosen)
        if wrong == "distance":
            return np.sqrt(weights)
        if wrong == "last center only":
            last = right(points, chosen[-1:])
            last[list(chosen)] = 0
            return last
        norms = (points**2).sum(axis=1)
        if wrong == "origin as a center":
            return np.minimum(weights, norms) if len(chosen) else weights
        return weights if len(chosen) else norms

    assert p_value(first_three, references.k_means_orders(points, 3, weights_of)) < 1e-10


def test_one_number_is_drawn_for_each_point():
    generator, counted = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    badge_select(*SMALL, 4, generator)
    for _ in range(4):
        race.draw_seed(counted)
    assert torch.equal(generator.get_state(), counted.get_state())


def test_no_large_tensor_is_made(largest_tensor):
    probs, features = drawn(6, 20_000, 10, 256, dtype=torch.float32)
    with largest_tensor(probs, features) as largest:
        badge_select(probs, features, 4, torch.Generator().manual_seed(0))
    # Not even a copy of the features: formed gradients would be 400 MB, N x N 3 GB.
    assert 0 < largest.num_bytes < features.untyped_storage().nbytes()


def test_features_that_are_not_numbers_are_named_and_not_the_logits_they_spoil(fake_model):
    model = fake_model.random(5)
    model.feature_table[3, 0] = torch.nan
    with pytest.raises(NonFiniteError, match=r"^features: expected finite numbers, got nan at row 3 of 5\.$"):
        BADGE().summarize(model, torch.arange(5))


@pytest.mark.parametrize("scale", [2.0**-600, 2.0**600])
def test_weights_beyond_double_precision(scale):
    """Squares of lengths of 1e-180 are 0, those of 1e180 infinite; the chosen one weighs nothing either way."""
    probs, features = drawn(2, 30, 4, 5)
    weights = badge_weights(probs, features * scale, [3])
    assert weights[3] == 0 and not torch.isnan(weights).any()
    assert bool((weights[:3] == (0 if scale < 1 else torch.inf)).all())


@pytest.mark.parametrize("chosen", [[30], [-1], [3, 99]])
def test_chosen_rows_out_of_range_are_refused(chosen):
    with pytest.raises(DalError, match=r"^chosen: expected rows from 0 to 29, got "):
        badge_weights(*drawn(2, 30, 4, 5), chosen)


def test_what_is_no_distribution_is_refused():
    with pytest.raises(DalError, match="probs: expected at least one class, got 0"):
        badge_select(torch.ones(2, 0), torch.zeros(2, 3), 1, torch.Generator())
    with pytest.raises(DalError, match="probs: expected rows of probabilities that sum to 1"):
        badge_weights(torch.ones(2, 2), torch.zeros(2, 3), [])
    for probs in (torch.tensor([[0.5, 0.5], [2.0, -1.0]]), torch.tensor([[0.5, 0.5], [0.3, 0.3]])):
        with pytest.raises(DalError, match=r"probs: expected rows of probabilities that sum to 1, got .* at row 1"):
            badge_select(probs, torch.zeros(2, 3), 1, torch.Generator())
    with pytest.raises(DalError, match="features: expected 2 rows, as in probs, got 3"):
        badge_select(torch.full((2, 2), 0.5), torch.zeros(3, 3), 1, torch.Generator())
