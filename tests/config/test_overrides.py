"""Overrides become a configuration, or one sentence that says what is wrong with them."""

import pytest
from hydra import compose as hydra_compose

from dal.acquisition import registry as functions
from dal.config import overrides as module
from dal.config.folder import config_folder
from dal.config.overrides import check_overrides, compose
from dal.config.schema import build
from dal.config.trainer import with_objects
from dal.data.sets.registry import registry as data_sets
from dal.errors import DalError
from dal.scoring.candidates import CandidatesConfig
from dal.sweep.grid import expand

EXPERIMENTS = sorted(path.stem for path in (config_folder() / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_builds_and_its_head_says_how_to_run_it(name):
    config = compose([f"experiment={name}"])
    assert build(config).data == data_sets()[config["data"]["name"]](
        **{k: v for k, v in config["data"].items() if k != "name"}
    )
    head = (config_folder() / "experiment" / f"{name}.yaml").read_text()
    assert f"# Command:   dal run experiment={name}" in head and "# Hardware:" in head
    assert "# Measured:" in head or "# Time and result:" in head


def test_ready_experiments_are_there():
    assert {"digits", "fashion_mnist", "cifar10", "cifar100_imbalanced", "image_folder"} <= set(EXPERIMENTS)


@pytest.mark.parametrize("name", sorted(functions()))
def test_every_function_is_an_option_with_its_fields(name):
    assert build(compose([f"acquisition={name}"])).acquisition == functions()[name]()


@pytest.mark.parametrize("name", sorted(data_sets()))
def test_every_data_set_is_an_option(name):
    people = ["oracle=people"] * (name == "unlabeled_folder")  # nobody else knows its labels
    assert type(build(compose([f"data={name}", *people])).data) is data_sets()[name]


def test_values_reach_the_objects():
    overrides = ["acquisition=bald", "acquisition.num_draws=7", "seed=4", "training.warm_start=continue"]
    built = build(compose([*overrides, "trainer.devices=2", "+trainer.detect_anomaly=true", "oracle.noise=0.25"]))
    assert built.acquisition.num_draws == 7 and built.seed == 4 and built.training.warm_start == "continue"
    assert built.trainer["devices"] == 2 and built.trainer["detect_anomaly"] is True and built.oracle.noise == 0.25
    assert built.run_dir == "runs/digits/bald/seed4"
    built = build(compose(["candidates.kind=random", "candidates.size=2000", "candidates.features_file=a b.npy"]))
    assert built.candidates == CandidatesConfig(kind="random", size=2000, features_file="a b.npy")
    assert compose(["experiment=none"])["campaign"]["budget"] == 1000 != compose([])["campaign"]["budget"]


@pytest.mark.parametrize(
    "overrides,message",
    [
        (["foo=1"], "overrides: expected one of acquisition, benchmark, campaign, .* got 'foo'"),
        (
            ["training.batchsize=3"],
            r"training: expected one of average, batch_size, .* got 'batchsize' \(did you mean batch_size\?\)",
        ),
        (["training.batch_size=abc"], "training.batch_size: expected a whole number, got abc"),
        (["model.lr=fast"], "model.lr: expected a number, got fast"),
        (
            ["trainer.foo=1"],
            r"trainer: expected one of accelerator, .* Add Lightning's other options with \+trainer.foo=VALUE",
        ),
        (
            ["model.backbone_options.width=2"],
            r"model.backbone_options: expected \+model.backbone_options.width=VALUE, which adds a key, got",
        ),
        (
            ["model.backbone_options={width: 2}"],
            r"model.backbone_options: expected \+model.backbone_options.width=VALUE, which adds a key, got \{width: 2",
        ),
        (["seed.x=1"], "seed: expected seed=VALUE, got 'seed.x'. seed has no nested keys."),
        (["acquisition=blad"], r"acquisition: expected one of .*bald, .* got 'blad' \(did you mean bald\?\)"),
        (
            ["acquisition.num_draws=3"],
            "acquisition: expected one of max_per_image, name, per_cost, pool, top_k, got 'num_draws'",
        ),
        (["experiment=null"], "experiment: expected one of .* got 'null'"),
        (["data=mnist"], "data: expected one of cifar10, .* got 'mnist'"),
        (["seed"], "overrides: expected KEY=VALUE, got 'seed'"),
        (["seed=1,2"], "seed: expected one value, got 1,2. Add --multirun"),
        (["seed=range(3)"], "seed: expected one value"),
        (
            ["training.rewind=0.0"],
            r"^training.rewind was removed because it "
            r"cost 3.5 points of area under the learning curve on Fashion-MNIST and 2.3 on digits\. Leave it out\.$",
        ),
        (["training.replay=3"], "^training.replay was removed because it gained 0 points"),
        (["++training.replay=null"], "^training.replay was removed because it gained 0 points"),
        (
            ["~campaign.grow_below"],
            "^campaign.grow_below was removed because its condition never came about",
        ),
        (
            ["training.warm_start='auto'"],
            "^training.warm_start=auto was removed because .* 269 % of the FLOPs. Leave it out.",
        ),
        (["training.warm_start=scratch,auto"], "^training.warm_start=auto was removed because"),
    ],
)
def test_wrong_overrides_are_one_sentence_with_the_choices(overrides, message):
    with pytest.raises(DalError, match=message) as caught:
        compose(overrides)
    assert "\n" not in str(caught.value)


def test_right_overrides_are_checked_by_one_composition(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "hydra_compose", lambda *given: calls.append(given) or hydra_compose(*given))
    check_overrides(["acquisition=bald,epig", "seed=range(3)", "model.lr=0.1", "+trainer.x=1", "~trainer.precision"])
    assert len(calls) == 1


@pytest.mark.parametrize(
    "overrides,message",
    [
        (["model.lr=0.1", "model.lr=fast", "foo=1"], "model.lr: expected a number, got fast"),
        (["foo=1", "model.lr=fast"], "overrides: expected one of .* got 'foo'"),
        (["seed=1", "acquisition=random,bald", "seed=a,1"], "seed: expected a whole number, got a"),
        (["~training", "training.batch_size=3"], "training: expected training=VALUE, got .~training."),
    ],
)
def test_the_first_of_several_wrong_overrides_is_named(overrides, message):
    with pytest.raises(DalError, match=message):
        check_overrides(overrides)


@pytest.mark.parametrize(
    "override,message",
    [
        ("acquisition.num_draws=1", "num_draws: expected a whole number of at least 2"),
        ("training.max_updates=0", "training.max_updates: expected at least 1, got 0"),
        (
            "training.warm_start=hot",
            "training.warm_start: expected one of continue, scratch, shrink_perturb, got 'hot'",
        ),
        ("campaign.budget=5", "campaign.budget: expected at least the 20 initial and validation labels, got 5"),
        ("campaign.query_size=0", "campaign.query_size: expected at least 1, got 0"),
        ("campaign.initial=best", "campaign.initial: expected one of balanced, kmeans, random, typiclust, got 'best'"),
        ("scoring.precision=8", "scoring.precision: expected one of"),
        ("candidates.kind=some", "candidates.kind: expected one of all, neighbors, random, stale, got 'some'"),
        ("candidates.index=annoy", "candidates.index: expected one of exact, faiss, got 'annoy'"),
        ("candidates.size=0", "candidates.size: expected at least 1, got 0"),
        ("candidates.num_neighbors=0", "candidates.num_neighbors: expected at least 1, got 0"),
        ("seed=-1", "seed: expected at least 0, got -1"),
        ("+surprise=1", "config: expected one of .* got 'surprise'"),
    ],
)
def test_values_out_of_range_are_one_sentence(override, message):
    with pytest.raises(DalError, match=message):
        build(compose(["acquisition=bald", override]))


@pytest.mark.parametrize(
    "path", ["runs/a=b (old)", "runs/it's here", "runs/über uns/100%", "C:\\runs", "runs/[1]{2},3"]
)
def test_paths_of_any_kind_need_no_quotes(path):
    assert compose([f"run_dir={path}"])["run_dir"] == path


def test_a_renamed_key_is_taken_under_its_old_name_with_a_warning(monkeypatch):
    renamed = {"training.batch": "training.batch_size", "points": "candidates"}
    monkeypatch.setattr("dal.runs.saved_config.RENAMED", renamed)
    with pytest.warns(UserWarning) as told:
        config = compose(["training.batch=8", "points.kind=random", "++points.size=30", "model.lr=0.5"])
    assert [str(warning.message) for warning in told] == [
        "training.batch is now called training.batch_size. Use the new name.",
        "points.kind is now called candidates.kind. Use the new name.",
        "points.size is now called candidates.size. Use the new name.",
    ]
    assert config == compose(["training.batch_size=8", "candidates.kind=random", "candidates.size=30", "model.lr=0.5"])
    with pytest.raises(DalError, match=r"overrides: expected one of .* got 'pointsize'"):
        compose(["pointsize=1"])
    with pytest.warns(UserWarning, match="training.batch is now called"):
        cells = expand(["training.batch=8,16", "run_dir=runs/${training.batch_size}"])
    assert [cell.config["training"]["batch_size"] for cell in cells] == [8, 16]
    assert [cell.overrides[0] for cell in cells] == ["training.batch_size=8", "training.batch_size=16"]


@pytest.mark.parametrize("text", ["+trainer.sync_batchnorm=true", "+model.lr=0.1"])
def test_a_plus_in_front_of_an_existing_option_must_go(text):
    key = text[1:].partition("=")[0]
    with pytest.raises(DalError) as error:
        compose([text])
    assert str(error.value) == f"{key}: expected {key}=VALUE without +, because the option exists, got {text!r}."


def test_a_run_dir_that_is_not_utf_8_is_refused():
    with pytest.raises(DalError, match=r"^run_dir: expected a path in UTF-8, got 'a\\udcff'\.$"):
        build(compose(["run_dir=a\udcff"]))


def test_a_target_that_cannot_be_imported_names_the_cause():
    with pytest.raises(DalError) as error:
        with_objects({"logger": {"_target_": "nope.Nope"}})
    assert str(error.value) == (
        "trainer.logger: expected a class that Python can import as _target_, got nope.Nope (No module named 'nope')."
    )
