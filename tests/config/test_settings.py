"""What help says about settings is what a run has."""

import copy
import re
from dataclasses import fields

import pytest
from omegaconf import OmegaConf

from dal.acquisition import registry as functions
from dal.config.folder import config_folder
from dal.config.overrides import GROUPS as HYDRA_GROUPS
from dal.config.overrides import _compose, compose
from dal.config.schema import RunConfig, build
from dal.config.settings import GROUPS, LAUNCHER, choices, chosen, sections
from dal.config.trainer import trainer_defaults
from dal.config.unit_settings import AcquisitionSettings
from dal.data.sets.registry import registry as data_sets
from dal.errors import DalError

CHOSEN_BY_GROUP = {"data.name", "acquisition.name", "compute", "benchmark"}
EXPERIMENTS, COMPUTE, BENCHMARKS, MODELS = (
    sorted(path.stem for path in (config_folder() / group).glob("*.yaml"))
    for group in ("experiment", "compute", "benchmark", "model")
)


def settings(overrides=()):
    found = [setting for section in sections(overrides) for setting in section.settings]
    assert len({setting.key for setting in found}) == len(found)
    return {setting.key: setting for setting in found}


def flat(nested, prefix=""):
    for key, value in nested.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def composed(overrides):
    """What Hydra makes of overrides, references unresolved."""
    return dict(flat(OmegaConf.to_container(_compose(list(overrides)))))


def assert_as_composed(overrides):
    hydra, ours = composed(overrides), settings(overrides)
    assert {key: setting.value for key, setting in ours.items()} == {
        key: value for key, value in hydra.items() if key not in CHOSEN_BY_GROUP
    }
    unnamed = ("experiment", "model")  # presets that a configuration does not name
    groups = {group: names[0] for group, names in chosen(overrides).items() if group not in unnamed}
    assert groups == {
        group: hydra[group if group in hydra else f"{group}.name"] for group in GROUPS if group not in unnamed
    }


@pytest.mark.parametrize(
    ("group", "name", "cls"),
    [(group, *one) for group, found in (("acquisition", functions()), ("data", data_sets())) for one in found.items()],
)
def test_settings_of_every_option_are_the_fields_of_its_class(group, name, cls):
    found = {key: s for key, s in settings([f"{group}={name}", "experiment=none"]).items() if key.startswith(group)}
    expected = {f"{group}.{f.name}": getattr(cls(), f.name) for f in fields(cls) if f.init}
    if group == "acquisition":
        expected |= {f"{group}.{f.name}": f.default for f in fields(AcquisitionSettings)}
    assert {key: setting.default for key, setting in found.items()} == expected
    assert {key: setting.value for key, setting in found.items()} == expected


@pytest.mark.parametrize("overrides", [[f"experiment={name}"] for name in ["none", *EXPERIMENTS]])
def test_settings_of_every_experiment_are_those_that_are_composed(overrides):
    assert_as_composed(overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["benchmark=imbalanced", "experiment=cifar10"],
        ["benchmark=high_budget", "compute=saver"],
        ["benchmark=redundant_pool", "acquisition=epig", "data=fashion_mnist"],
        ["model=segmentation", "experiment=cifar10", "model.class_weights=[0.5,1]"],
        ["experiment=cifar10", "compute=classic", "training.patience=7", "model.weights=null", "run_dir=here"],
    ],
)
def test_presets_override_one_another_as_for_a_run(overrides):
    assert_as_composed(overrides)


def test_defaults_are_those_of_the_objects():
    def defaults(thing):
        return dict(flat(OmegaConf.to_container(OmegaConf.structured(thing))))

    found = settings(["experiment=none", "data=image_folder", "acquisition=bald"])
    expected = {k: v for k, v in defaults(RunConfig).items() if k not in CHOSEN_BY_GROUP | {"data", "acquisition"}}
    expected.pop("defaults")
    expected |= {f"data.{key}": value for key, value in defaults(data_sets()["image_folder"]).items()}
    expected |= {f"acquisition.{key}": value for key, value in defaults(AcquisitionSettings).items()}
    expected["acquisition.num_draws"] = functions()["bald"]().num_draws
    assert {key: setting.default for key, setting in found.items()} == expected
    assert {k: v for k, v in expected.items() if k.startswith("trainer.")} == dict(
        flat({"trainer": trainer_defaults()})
    )


def test_every_setting_has_a_sentence():
    overrides = [f"acquisition={name}" for name in functions()] + [f"data={name}" for name in data_sets()]
    found = {key: setting.sentence for one in overrides for key, setting in settings([one]).items()}
    assert {k: s for k, s in found.items() if not re.fullmatch(r"[A-Z].{10,}\.", s) or "None" in s.split()} == {}


def test_a_sentence_says_what_null_means():
    overrides = [f"acquisition={name}" for name in functions()] + [f"data={name}" for name in data_sets()]
    null = {s.key: s.sentence for one in overrides for s in settings([one]).values() if s.default is None}
    same_as_another = {"model.final_weights"}
    assert {key for key, sentence in null.items() if "null" not in sentence} - same_as_another == set()


def accepted(config, key):
    """The choices that a run names when a setting is none of them."""
    changed = copy.deepcopy(config)
    *parents, last = key.split(".")
    node = changed
    for parent in parents:
        node = node[parent]
    node[last] = "nonsense"
    try:
        build(changed).model.build((1, 8, 8), 10)
    except DalError as error:
        listed = re.search(r"expected one of (.*), got 'nonsense'", str(error))
        return [] if listed is None else listed[1].replace("<name>", "NAME").split(", ")
    return []


def test_a_sentence_lists_the_choices_that_the_run_accepts():
    config, lists, missing = compose(["experiment=none"]), {}, {}
    for name in functions():
        for key, setting in settings([f"acquisition={name}", "experiment=none"]).items():
            if not isinstance(setting.value, str) or (key in lists and not key.startswith("acquisition.")):
                continue
            names = accepted(config | {"acquisition": {"name": name}}, key)
            lists[key] = names if key != "acquisition.score" else []  # the functions, which are listed elsewhere
            if absent := [c for c in lists[key] if not re.search(rf"\b{re.escape(c)}\b", setting.sentence)]:
                missing[key] = absent
    assert missing == {}
    assert {key for key, names in lists.items() if names} >= {
        "model.backbone",
        "model.optimizer",
        "model.schedule",
        "training.monitor",
        "training.warm_start",
        "campaign.initial",
        "campaign.target_metric",
        "candidates.kind",
        "candidates.index",
        "scoring.precision",
        "acquisition.kind",
        "acquisition.form",
    }


def test_groups_are_those_of_the_command_line_with_all_their_choices():
    assert set(GROUPS) == set(HYDRA_GROUPS)
    assert list(choices("acquisition")) == sorted(functions()) and list(choices("data")) == sorted(data_sets())
    assert list(choices("experiment")) == ["none", *EXPERIMENTS] and list(choices("compute")) == COMPUTE
    assert list(choices("model")) == ["none", *MODELS]
    assert list(choices("benchmark")) == ["none", *BENCHMARKS] and list(choices(LAUNCHER)) == ["ray_cluster", "slurm"]


@pytest.mark.parametrize("group", [*GROUPS, LAUNCHER])
def test_every_choice_has_a_sentence(group):
    assert {n: s for n, s in choices(group).items() if not re.fullmatch(r"[A-Z0-9k].{10,150}\.", s)} == {}


def test_several_functions_and_a_file_show_their_settings(tmp_path):
    own = tmp_path / "mine.py"
    own.write_text(
        "from dal.acquisition.base import ScoreFunction\n\n\nclass Mine(ScoreFunction):\n"
        "    share: float = 0.5  # Share of the pool.\n"
    )
    shown = {s.title: [x.key for x in s.settings] for s in sections([f"acquisition=bald,epig,{own}"])}
    assert shown["Acquisition function bald"] == ["acquisition.num_draws"]
    assert shown["Acquisition function epig"] == ["acquisition.num_draws", "acquisition.num_targets"]
    assert shown["Acquisition function mine"] == ["acquisition.share"]


@pytest.mark.parametrize("group", GROUPS)
def test_an_unknown_choice_is_one_sentence(group):
    with pytest.raises(DalError, match=f"^{group}: expected one of .*, got 'nonsense'"):
        sections([f"{group}=nonsense"])
