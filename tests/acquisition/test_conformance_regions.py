"""What every acquisition function must hold on regions: it selects them, or one sentence refuses it at the start."""

import pytest
import torch
from helpers.toy_masks import mask_learner, tiny_model, toy_mask_data

from dal.acquisition import registry
from dal.errors import DalError
from dal.labeling.oracle import DatasetOracle
from dal.scoring import ScoringConfig

REFUSED = {"badge", "bait", "alfa_mix", "dropquery", "batchbald", "epig"}
ALSO_FOR_PIXELS = {"alfa_mix", "epig"}


def function_of(name):
    kind = registry()[name]
    return kind(**({"num_draws": 3} if "num_draws" in kind.__dataclass_fields__ else {}))


def asked(name, data, count, batch_size=None):
    """A query after 6 labels, with the first weights of a network at half the resolution."""
    scoring = ScoringConfig() if batch_size is None else ScoringConfig(tile_size=batch_size)
    torch.manual_seed(0)
    learner = mask_learner(
        function_of(name), data, tiny_model(stride=1 if data.region_size == 1 else 2), scoring=scoring
    )
    learner.tell(range(6), DatasetOracle(data)(range(6)))
    learner._fitted_round = 0
    return learner.ask(count)


@pytest.fixture(params=sorted(registry()))
def name(request):
    return request.param


def test_regions_are_selected_or_the_function_is_refused_before_a_label_is_bought(name):
    data = toy_mask_data(6, region_size=3)
    if name in REFUSED:
        with pytest.raises(DalError, match=r"^acquisition: expected a function whose .* with segmentation data, got '"):
            asked(name, data, 8)
        return
    torch.manual_seed(3)
    first = asked(name, data, 8)
    assert len(set(first)) == 8 and min(first) >= 6 and max(first) < 54
    assert all(score == score and abs(score) < float("inf") for score in first.scores)
    again = asked(name, data, 8, batch_size=2)
    assert again.indices == first.indices and again.scores == pytest.approx(first.scores, rel=1e-5, abs=1e-7)


def test_regions_of_one_pixel_are_points_for_more_functions(name):
    data = toy_mask_data(1, region_size=1)
    if name in ALSO_FOR_PIXELS:
        with pytest.raises(DalError, match=r"^acquisition: expected a function whose scores or features of pixels"):
            asked(name, data, 5)
        return
    query = asked(name, data, 5)
    assert len(set(query)) == 5 and query.ids[0] == data.point_ids[query[0]]
