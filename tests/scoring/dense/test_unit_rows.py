"""Scores and features of units, from sites in blocks."""

from dataclasses import fields

import pytest
import torch
from helpers.fakes import LargestTensor
from helpers.toy_masks import TinyNet, draws_one_by_one, toy_mask_data

from dal.acquisition import BALD, CoreSet, Entropy, Margin, Stratified
from dal.acquisition.bald import bald_scores
from dal.acquisition.mean_std import MeanSTD
from dal.acquisition.registry import registry
from dal.acquisition.variation_ratios import VariationRatios
from dal.costs.units import clicks, measure_units
from dal.errors import DalError, NonFiniteError
from dal.models.adapt import adapt
from dal.models.adapted.scoring_model import scoring_view
from dal.models.dropout import mc_dropout
from dal.scoring import ModelPass, ScoringConfig
from dal.scoring.dense import sites
from dal.scoring.dense.pooling import Pooling
from dal.scoring.dense.predicted_clicks import CLICKS
from dal.scoring.dense.sites import SiteRows, SiteView, blocks
from dal.scoring.measured import followed_logits, measured
from dal.scoring.select import summarize_points
from dal.tasks import SEGMENTATION


def network(**options):
    torch.manual_seed(0)
    return adapt(TinyNet(**options), "head", task="segmentation")


def rows(function, data, points=None, *, config=None, pooling=None, model=None, clicks=None):
    passes = ModelPass(model or network(), config or ScoringConfig(), pooling=pooling or Pooling())
    points = torch.arange(data.num_points) if points is None else points
    return summarize_points(passes, function, (data, points), seed=3, clicks=clicks)


def test_a_region_scores_the_mean_of_its_pixels():
    data, model = toy_mask_data(3, size=6, region_size=4), network()
    with torch.inference_mode():
        probs = model.module.eval()(data.plain([0, 1, 2])).double().softmax(dim=1)
    entropy = torch.special.entr(probs).sum(dim=1)
    expected = [
        entropy[image, y0:y1, x0:x1].mean() for image in range(3) for y0, x0, y1, x1 in data.units.boxes.tolist()
    ]
    found = rows(Entropy(), data, model=model)["scores"]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-6, atol=1e-7)


def test_functions_on_features_get_the_mean_feature_of_a_unit():
    data, model = toy_mask_data(3, size=6, region_size=4), network()
    with torch.inference_mode():
        features = model.module.eval().body(data.plain([0, 1, 2]))
    expected = [
        features[image, :, y0:y1, x0:x1].mean(dim=(1, 2))
        for image in range(3)
        for y0, x0, y1, x1 in data.units.boxes.tolist()
    ]
    found = rows(CoreSet(), data, model=model)["features"]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", [Margin(), BALD(3), CoreSet(), registry()["cluster_margin"]()])
@pytest.mark.parametrize("stride", [1, 2])
def test_blocks_tiles_batches_and_order_do_not_change_rows(function, stride, monkeypatch):
    data, model = toy_mask_data(7, size=6, region_size=2), network(stride=stride)
    expected = rows(function, data, model=model)
    points = torch.randperm(data.num_points, generator=torch.Generator().manual_seed(0))[:40]
    for tile, batch, block in ((1, 512, 2**24), (3, 2, 200), (4, 1, 2**12)):
        monkeypatch.setattr(sites, "_BLOCK_BYTES", block)
        config = ScoringConfig(tile_size=tile, batch_size=batch)
        for name, part in rows(function, data, points, config=config, model=model).items():
            torch.testing.assert_close(part, expected[name][points], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", [Entropy(), Margin(), BALD(4)])
def test_rows_of_sites_are_the_same_bits_in_any_block(function, monkeypatch):
    data, model, seen = toy_mask_data(4, size=6), network(), []
    with scoring_view(model, is_dense=True) as view:
        for block in (2**24, 600, 8):
            monkeypatch.setattr(sites, "_BLOCK_BYTES", block)
            seen.append(SiteRows(function)(SiteView(view, data.plain([0, 1, 2, 3])))[0]["scores"])
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])


def test_blocks_cover_all_sites_once():
    for count, grid, width, most in ((3, (4, 5), 7, 8 * 7 * 45), (3, (4, 5), 7, 8 * 7 * 11), (2, (1, 1), 3, 1)):
        seen = torch.zeros(count, *grid, dtype=torch.int64)
        for images, lines in blocks(count, torch.Size(grid), width, most):
            seen[images, lines] += 1
        assert (seen == 1).all()


@pytest.mark.parametrize("function", [BALD(6), MeanSTD(6), VariationRatios(6), VariationRatios(6, votes=False)])
def test_sums_over_draws_are_the_scores_of_all_draws(function):
    data, model = toy_mask_data(5, size=6, region_size=3), network()
    at_once = rows(read_by_rows(function), data, model=model)["scores"]
    # Budgets for groups of one draw, of some, and of all.
    for budget in ("2KiB", "64KiB", "1GiB"):
        summed = rows(function, data, model=model, config=ScoringConfig(memory_budget=budget))["scores"]
        torch.testing.assert_close(summed, at_once, rtol=0, atol=1e-7)
    assert summed.std() > 0


def read_by_rows(function):
    """The function as one of a user, who overrides score()."""
    kind = type(function)
    names = [field.name for field in fields(function)]
    own = type(kind.__name__, (kind,), {"score": lambda self, model, x: kind.score(self, model, x)})
    return own(**{field: getattr(function, field) for field in names})


@pytest.mark.parametrize("function", [Entropy(), Margin(), BALD(3)])
def test_a_score_that_a_user_overrides_is_the_one_that_is_used(function):
    kind, data = type(function), toy_mask_data(2, size=4)
    own = type("Own", (kind,), {"score": lambda self, model, x: kind.score(self, model, x) + 5})
    found, usual = (rows(one, data)["scores"] for one in (own(), function))
    assert (found >= 5).all() and (usual < 5).all()


def test_predicted_classes_of_summed_draws_are_those_of_all_draws():
    data, model, function = toy_mask_data(5, size=6), network(), Stratified(score="bald", num_draws=6)
    x = data.plain(range(5))
    with scoring_view(model, seed=4, is_dense=True) as view:
        at_once = SiteRows(function)
        at_once._has_sums = False
        at_once, _ = at_once(SiteView(view, x))
        summed, _ = SiteRows(function, budget=2**12)(SiteView(view, x))
    assert torch.equal(summed["predicted"], at_once["predicted"]) and len(at_once["predicted"].unique()) > 1
    torch.testing.assert_close(summed["scores"], at_once["scores"], rtol=0, atol=1e-7, check_dtype=False)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("function", [Entropy(), CoreSet(), BALD(3)])
def test_expected_clicks_are_those_of_the_predicted_mask(function, stride):
    data, model = toy_mask_data(4, size=6, region_size=4), network(stride=stride)
    points = torch.tensor([9, 2, 14, 3])
    with torch.inference_mode():
        logits = model.module.eval()(data.plain(range(4)))
    model.module.head.bias.data -= logits.mean(dim=(0, 2, 3))  # so that it predicts several classes
    found = rows(function, data, points, model=model, clicks=clicks, config=ScoringConfig(tile_size=3))
    assert set(found) == {*function.keeps, CLICKS}
    with torch.inference_mode():
        masks = model.module.eval()(data.plain(range(4))).argmax(dim=1)
    grid = masks.shape[1]
    expected = measure_units(masks, data.units.of_pixels(grid, grid), 4, (6 / grid, 6 / grid)).clicks()
    assert torch.equal(found[CLICKS], expected[points // 4, points % 4]) and len(found[CLICKS].unique()) > 1


def test_the_pass_for_expected_clicks_of_draws_is_counted():
    data, model, flops = toy_mask_data(4, size=6, region_size=3), network(), []
    for function, given in ((Entropy(), None), (Entropy(), clicks), (BALD(3), None), (BALD(3), clicks)):
        passes = ModelPass(model)
        summarize_points(passes, function, (data, torch.arange(16)), clicks=given)
        flops.append(passes.ledger.row()["flops_forward_score"])
    plain, with_clicks, draws, draws_with_clicks = flops
    assert plain == with_clicks and draws_with_clicks == draws + plain


def test_draws_that_are_summed_are_those_of_bald_scores():
    data, model = toy_mask_data(2, size=6), network()
    with scoring_view(model, seed=4, is_dense=True) as view:
        x = data.plain([0, 1])
        draws = draws_one_by_one(view, x, 5)
        expected = bald_scores(draws.permute(0, 3, 4, 1, 2).reshape(-1, 5, 3))
        found, grid = SiteRows(BALD(5), budget=2**12)(SiteView(view, x))
    assert grid == (6, 6)
    torch.testing.assert_close(found["scores"], expected, rtol=0, atol=1e-7)


def test_all_draws_of_many_pixels_never_exist_at_once(monkeypatch):
    """20 draws of 3 classes for 4 images of 32 x 32 pixels are 0.94 MiB in float32."""
    data, model = toy_mask_data(4, size=32, region_size=16), network(kernel=1)
    config = ScoringConfig(memory_budget="1MiB", tile_size=4)
    kept = rows(BALD(20), data, model=model, config=config)["scores"]
    monkeypatch.setattr(mc_dropout, "MOST_KEPT", 0)
    with LargestTensor() as watched:
        found = rows(BALD(20), data, model=model, config=config)["scores"]
    assert watched.num_bytes <= 4 * 32 * 32 * 8 * 4, "one draw of the 8 features"
    assert torch.equal(found, kept), "masks that are not kept are the same"


def test_a_score_that_is_not_finite_names_its_image():
    class Broken(TinyNet):
        def forward(self, x):
            return super().forward(x) / (x.amax(dim=(1, 2, 3), keepdim=True) < 5)

    data = toy_mask_data(6, region_size=4)
    data.source.images[4] = 255
    torch.manual_seed(0)
    model = adapt(Broken(), "head", task="segmentation")
    with pytest.raises(NonFiniteError, match=r"for 'scene-04' \(index 4\)"):
        rows(Entropy(), data, model=_nan_at(model))


def _nan_at(model):
    """The model with NaN features for images without dark pixels."""
    model.module.body.register_forward_hook(
        lambda layer, args, out: out.masked_fill((args[0].amin(dim=(1, 2, 3), keepdim=True) > 2), torch.nan)
    )
    return model


@pytest.mark.parametrize("tile", [1, 3, 8])
def test_metrics_do_not_depend_on_tiles_and_equal_those_at_once(tile):
    data, model = toy_mask_data(7, region_size=4), network(stride=2)
    with torch.inference_mode():
        logits = model.module.eval()(data.plain(range(7)))
    expected = SEGMENTATION.metrics(logits, data.masks.batch(range(7)))
    passes = ModelPass(model, ScoringConfig(tile_size=tile))
    found = measured(passes, data.whole(), (torch.arange(7), data.labels), "test")
    assert found.confusion_matrix == expected.confusion_matrix and found.miou == expected.miou
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)


def test_the_pixels_that_are_followed_stay_the_same():
    data, points = toy_mask_data(6, region_size=4), torch.tensor([3, 17, 8])
    passes = ModelPass(network(), ScoringConfig(tile_size=2))
    first = followed_logits(passes, data, points, "stop", seed=1)
    assert first.shape == (3 * 16, 3) and torch.equal(first, followed_logits(passes, data, points, "stop", seed=1))
    with torch.inference_mode():
        everything = passes.model.module.eval()(data.plain([0, 4, 2]))
    of_region = everything[0, :, 4:, 4:].flatten(1).T
    assert all(any(torch.allclose(row, other, atol=1e-6) for other in of_region) for row in first[:16])


def test_draws_of_a_group_share_the_layers_before_dropout():
    data, calls = toy_mask_data(8, size=6), []
    model = network()
    model.module.body.register_forward_hook(lambda layer, args, out: calls.append(len(args[0])))
    with scoring_view(model, is_dense=True) as view:
        x, function = data.plain(range(8)), SiteRows(BALD(20))
        found, _ = function(SiteView(view, x))
        calls.clear()
        again, _ = function(SiteView(view, x))
    assert sum(calls) == 8 and torch.equal(found["scores"], again["scores"])


def test_a_network_that_mixes_images_is_refused_for_sums():
    class Mixing(TinyNet):
        def forward(self, x):
            return super().forward(x - x.mean(dim=0, keepdim=True))

    torch.manual_seed(0)
    model = adapt(Mixing(), "head", task="segmentation")
    with pytest.raises(DalError, match=r"Make forward.. process the images of a batch independently"):
        rows(BALD(3), toy_mask_data(4, size=6), model=model)
