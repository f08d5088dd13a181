"""Settings of units: what a campaign buys, and how units are scored and chosen."""

import pytest
import yaml

from dal.config.overrides import compose
from dal.config.schema import build
from dal.config.settings import sections
from dal.config.unit_settings import AcquisitionSettings, UnitSettings, unit_fields
from dal.data.images import ImageSplits
from dal.data.variants.prepare import load
from dal.errors import DalError
from dal.runs.saved_config import ADDED, check_same_config
from dal.scoring.dense.pooling import Pooling
from dal.scoring.limit import UnitOptions
from dal.tasks import CLASSIFICATION, MULTI_LABEL, SEGMENTATION

TINY = ["experiment=scenes", "data.items=digits", "data.train_size=3", "data.test_size=2"]


def built(*overrides):
    return build(compose(list(overrides)))


def test_the_experiment_buys_regions():
    one = built(*TINY)
    splits = one.with_units(load(one.data))
    assert (splits.train.num_points, splits.train.point_ids[17]) == (48, "train-00001#r0,c1")
    assert splits.test.num_points == 2


def test_images_are_bought_whole_with_the_same_size_of_regions():
    one = built(*TINY, "campaign.unit=image")
    assert one.data.region_size == 8 and one.with_units(load(one.data)).train.num_points == 3


def test_regions_larger_than_the_images_are_refused():
    one = built(*TINY, "data.region_size=33")
    splits = one.with_units(load(one.data))
    expected = r"^data\.region_size: expected at most 32, the side length of the images, got 33\.$"
    with pytest.raises(DalError, match=expected):
        one.learner(splits)


def test_settings_of_units_reach_the_learner():
    options = ["pool=top_k", "top_k=3", "per_cost=true", "max_per_image=2"]
    sizes = ["initial_size=4", "query_size=4", "budget=12"]
    one = built(*TINY, *(f"campaign.{size}" for size in sizes), *(f"acquisition.{option}" for option in options))
    learner = one.learner(one.with_units(load(one.data)))
    assert learner.passes.pooling == Pooling("top_k", 3) and learner.unit_options == UnitOptions(True, 2)
    assert learner.acquisition.name == "entropy" and learner.pool.size == 48


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["campaign.unit=pixel"], r"^campaign\.unit: expected one of .*image, region.* got 'pixel'"),
        (["acquisition.pool=median"], r"^acquisition\.pool: expected one of .* got 'median'"),
        (["acquisition.top_k=0"], r"^acquisition\.top_k: expected "),
        (["acquisition.max_per_image=0"], r"^acquisition\.max_per_image: expected "),
        (["data.region_size=0"], r"^data\.region_size: expected "),
        (
            ["data.region_size=null"],
            r"^data\.region_size: expected the side .* for campaign\.unit=region of segmentation data, got None",
        ),
    ],
)
def test_values_are_checked(overrides, sentence):
    with pytest.raises(DalError, match=sentence):
        built("experiment=scenes", *overrides)


@pytest.mark.parametrize("task", [CLASSIFICATION, MULTI_LABEL])
@pytest.mark.parametrize(
    ("unit", "values", "sentence"),
    [
        ("region", {}, "campaign.unit: expected image with {} data, got 'region'."),
        ("image", {"pool": "max"}, "acquisition.pool: expected mean with {} data, got 'max'."),
        ("image", {"top_k": 3}, "acquisition.top_k: expected 16 with {} data, got 3."),
        ("image", {"per_cost": True}, "acquisition.per_cost: expected false with {} data, got True."),
        ("image", {"max_per_image": 1}, "acquisition.max_per_image: expected null with {} data, got 1."),
    ],
)
def test_other_tasks_refuse_them_in_one_sentence(task, unit, values, sentence):
    settings = UnitSettings.of(unit, values)
    settings.check_task(SEGMENTATION)
    with pytest.raises(DalError) as caught:
        settings.check_task(task)
    assert str(caught.value) == sentence.format(task.name)
    UnitSettings().check_task(task)


def test_classification_refuses_them_before_a_label_is_bought():
    one = built("acquisition.pool=max")
    with pytest.raises(DalError, match=r"^acquisition\.pool: expected mean with classification data"):
        one.learner(ImageSplits(*load(one.data)))
    with pytest.raises(DalError, match=r"^data\.region_size: expected null with classification data, got 8"):
        load(built("data.region_size=8").data)


def test_runs_of_older_versions_have_the_defaults(tmp_path):
    config = compose([])
    for section in ("acquisition", "campaign", "data"):
        for key in [key for key in ADDED if key.startswith(f"{section}.")]:
            config[section].pop(key.partition(".")[2], None)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    check_same_config(tmp_path / "config.yaml", compose([]))
    with pytest.raises(DalError, match=r"^acquisition\.pool: expected 'mean'"):
        check_same_config(tmp_path / "config.yaml", compose(["acquisition.pool=max"]))


def test_a_function_keeps_its_own_field_of_the_same_name():
    class Own(AcquisitionSettings):
        pass

    assert unit_fields(Own) == [] and len(unit_fields(UnitSettings)) == 4


def test_help_names_them_once_for_several_functions():
    found = sections(["acquisition=random,bald", "experiment=scenes"])
    keys = [setting.key for section in found for setting in section.settings]
    assert keys.count("acquisition.pool") == 1 and keys.index("acquisition.num_draws") < keys.index("acquisition.pool")
    (unit,) = [setting for section in found for setting in section.settings if setting.key == "campaign.unit"]
    assert (unit.value, unit.default, unit.origin) == ("region", "image", "experiment=scenes")


def test_a_region_size_without_regions_is_told():
    with pytest.warns(UserWarning, match=r"^data\.region_size=8 has no effect with campaign\.unit=image"):
        UnitSettings("image").check_region(8)
