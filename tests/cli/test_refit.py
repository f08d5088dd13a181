"""`dal explain --refit`: the labels of a run trained again with one change."""

import json
import shutil
from functools import cache

import numpy as np
import pytest
from helpers.other_threads import threads
from helpers.synthetic_runs import write_run

from dal.cli import refit as command
from dal.cli.main import main
from dal.cli.refit_change import changed_model, parse_change
from dal.data import load
from dal.data.sets.digits import Digits
from dal.errors import DalError
from dal.models import ModelConfig
from dal.runs.refits import DEPTH, WIDTH, Arm, Basis
from dal.tasks import MULTI_LABEL

SETTINGS = [
    *("campaign.initial_size=10", "campaign.query_size=10", "campaign.budget=20", "campaign.growth=1.0"),
    *("data.max_train=60", "training.min_updates=2", "training.max_updates=3"),
]


@pytest.fixture
def call(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main(list(map(str, arguments)))
        captured = capsys.readouterr()
        return end.value.code or 0, " ".join(captured.out.split()), captured.err.splitlines()[-1:]

    return call


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = tmp_path_factory.mktemp("refit") / "run"
    with pytest.raises(SystemExit):
        main(["run", f"run_dir={run}", *SETTINGS])
    return run


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture(scope="module")
def load_once():
    return cache(command.load_run)


def trainings(run):
    return {path.stem: json.loads(path.read_text())["trainings"] for path in (run / "refit").iterdir()}


def test_trainings_are_made_once_an_interrupt_keeps_them_and_the_page_shows_them(run, call, monkeypatch):
    train, models = command.train_at_once, []

    def fourth_is_interrupted(learner, labels, positions, updates, test):
        if len(models) == 3:
            raise KeyboardInterrupt
        models.append((learner.model.module.backbone.num_features, len(positions), updates, learner.seed))
        return train(learner, labels, positions, updates, test)

    changes = ("--refit", "width=2", "--refit", "without=1", "--seeds", "2")
    monkeypatch.setattr(command, "train_at_once", fourth_is_interrupted)
    status, out, _ = call("explain", run, *changes)
    # The saver makes 3 updates in each of its 2 rounds, and the second goes on with the weights of the first.
    assert status == 130 and "6 trainings on 20 labels with 6 updates each: about" in out
    assert models == [(128, 20, 6, 0), (256, 20, 6, 0), (128, 10, 6, 0)]
    before = trainings(run)
    assert {name: [*seeds] for name, seeds in before.items()} == {
        name: ["0"] for name in ("unchanged", "width_2", "without_round_1")
    }
    monkeypatch.setattr(command, "train_at_once", train)
    status, out, _ = call("explain", run, *changes)
    assert status == 0 and "3 trainings on 20 labels" in out
    assert "With 2 times the width, test accuracy" in out and "Without the 10 labels of round 1, test accuracy" in out
    after = trainings(run)
    assert all(after[name]["0"] == one["0"] and len(after[name]) == 2 for name, one in before.items())
    status, out, _ = call("explain", run, "--refit", "width=2", "--seeds", "2")
    assert status == 0 and "All trainings are there already." in out and "Without the" not in out
    assert call("explain", run, "--no-images")[0] == 0
    page = (run / "explain" / "report.html").read_text()
    network, queries = (
        page[page.index(f'<section id="{key}">') :].split("</section>")[0] for key in ("network", "queries")
    )
    assert "With 2 times the width, test accuracy" in network and "Without the 10 labels" not in network
    assert "Without the 10 labels of round 1, test accuracy" in queries and 'class="refits"' in queries


def test_bad_input_is_one_sentence(trained, tmp_path, call, monkeypatch, load_once):
    run = trained
    monkeypatch.setattr(command, "load_run", load_once)
    library = write_run(tmp_path / "library", [0.5])
    (library / "config.yaml").unlink(missing_ok=True)
    for arguments, said in (
        (
            ["--refit", "with=2"],
            "--refit: expected width=NUMBER, depth=N, without=ROUND or without=CLASS, got 'with=2'.",
        ),
        (["--refit", "width"], "--refit: expected width=NUMBER, depth=N, without=ROUND or without=CLASS, got 'width'."),
        (["--refit", "width=1"], "--refit width: expected a factor above 0, up to 64 and not 1, got '1'."),
        (["--refit", "width=nan"], "--refit width: expected a factor above 0, up to 64 and not 1, got 'nan'."),
        (["--refit", "depth=1.5"], "--refit depth: expected a whole number from 1 to 1,000, got '1.5'."),
        (["--refit", "depth=1"], "--refit depth: expected at least 2, got 1."),
        (["--refit", "depth=2"], "--refit depth: expected another network than that of the run, got the same (2)."),
        (["--refit", "without=9"], "--refit without=9: expected a round or a class with labels, got none."),
        (["--refit", "without=cat"], "--refit without: expected one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, the number of"),
        (["--refit", "width=2", "--seeds", "1"], "--seeds: expected 2 to 1,000 with --refit, got 1."),
        (["--refit", "width=2", "--watch"], "--watch: expected no --refit on the same command line."),
        (["--refit", "width=2", "--no-images"], "--no-images: expected no --refit on the same command line."),
        (["--seeds", "3"], "--seeds: expected --refit on the same command line."),
    ):
        status, _, errors = call("explain", run, *arguments)
        assert status == 2 and errors[0].startswith(f"Error: {said}"), (arguments, errors)
    assert not (run / "refit").exists()
    status, _, errors = call("explain", library, "--refit", "width=2")
    assert status == 2 and "has no config.yaml: only the program that made the run can train" in errors[0]
    status, _, errors = call("explain", tmp_path / "nowhere", "--refit", "width=2")
    assert status == 2 and errors[0].startswith("Error: run: expected a run folder")


def test_another_number_of_threads_than_that_of_the_run_is_said(trained):
    with threads(2), pytest.warns(UserWarning, match=r"^cpu_threads: the run used 1, and this process uses 2, so"):
        command.load_run(trained, "Networks")


def test_all_labels_and_runs_with_several_classes_per_image_are_refused(trained, call, monkeypatch, load_once):
    run = trained
    monkeypatch.setattr(command, "load_run", load_once)
    monkeypatch.setattr(command, "left_out", lambda arm: np.ones(20, dtype=bool))
    status, _, errors = call("explain", run, "--refit", "without=1")
    assert status == 2 and "expected to leave a part of the labels out, got all 20 labels of the run." in errors[0]
    monkeypatch.setattr(command, "CLASSIFICATION", MULTI_LABEL)
    status, _, errors = call("explain", run, "--refit", "without=1")
    assert status == 2 and "expected a run in which each image has one class, got one with several" in errors[0]


def test_only_backbones_with_the_option_change():
    data = load(Digits(max_train=20)).train
    basis = Basis("", 1, ["a"], [0], [0], [0])
    changed = changed_model(ModelConfig(backbone_options={"width": 0.25}), Arm(WIDTH, 2.0, basis), data)
    assert changed.backbone_options == {"width": 0.5}
    assert changed_model(ModelConfig(), Arm(DEPTH, 4, basis), data).backbone_options == {"depth": 4}
    vit = "timm/test_vit"
    options = {"img_size": 32}
    deeper = changed_model(ModelConfig(vit, backbone_options=options), Arm(DEPTH, 1, basis), data)
    assert deeper.backbone_options == options | {"depth": 1}
    for backbone, kind, said in (
        ("resnet18_cifar", WIDTH, r"expected depth=N with timm models that take it, .* got backbone 'resnet18_cifar'"),
        ("torchvision/resnet18", DEPTH, r"expected depth=N with timm models that take it"),
        (vit, WIDTH, r"expected depth=N with timm models that take it"),
        ("timm/resnet10t", DEPTH, r"expected a value that timm/resnet10t takes, got 3"),
        ("small_cnn", WIDTH, r"expected another network than that of the run, got the same"),
    ):
        value = 1.001 if backbone == "small_cnn" else 3
        with pytest.raises(DalError, match=f"^--refit {kind}: {said}"):
            changed_model(ModelConfig(backbone), Arm(kind, value, basis), data)


def test_a_class_that_is_called_like_a_number():
    basis = Basis("", 1, ["3", "cat"], [0], [0], [0])
    assert [parse_change(text).of(basis).name for text in ("without=3", "without=class:3", "without=cat")] == [
        *("without_round_3", "without_class_0", "without_class_1")
    ]
