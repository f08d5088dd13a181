"""The command line as a person uses it, in processes of its own where that matters."""

import csv
import json
import os

import pandas as pd
import pytest
from helpers import processes
from PIL import Image

from dal.cli.main import main
from dal.labeling.oracle import DatasetOracle

QUICK = ["campaign.budget=60", "training.min_updates=20", "training.max_updates=40", "training.check_every=20"]


def dal(*arguments, cwd=None):
    return processes.run(["-m", "dal", *arguments], cwd=cwd)


def call(capsys, *arguments):
    """In this process: (exit status, what was printed, errors)."""
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return caught.value.code or 0, printed.out, printed.err


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits" / "margin" / "seed0"
    with pytest.raises(SystemExit) as caught:
        main(["run", *QUICK, f"run_dir={folder}"])
    assert not caught.value.code
    return folder


def test_run_shows_rounds_costs_files_and_what_next(tmp_path):
    done = dal("run", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert (
        lines[0]
        == "margin on digits: 1,297 images in the pool, 500 test images, 10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    )
    assert [line.split()[2] for line in lines if line.startswith("round")] == ["20", "40", "60"]
    assert "Done, because the label budget is spent." in lines
    for expected in (
        "What it cost",
        "training",
        "runs/digits/margin/seed0",
        "dal run acquisition=random",
        "dal report",
    ):
        assert expected in done.stdout
    run = tmp_path / "runs" / "digits" / "margin" / "seed0"
    assert (run / "learning_curve.png").stat().st_size > 10_000
    assert {"hydra", "outputs", "multirun"}.isdisjoint(p.name for p in tmp_path.iterdir())
    # The process is forked from one that has loaded both, so it does not announce it.
    assert done.stderr == ""


def test_run_again_shows_the_finished_run_and_another_setting_is_refused(finished, capsys):
    before = (finished / "rounds.jsonl").read_bytes()
    status, out, _ = call(capsys, "run", *QUICK, f"run_dir={finished}")
    assert status == 0 and "is already finished" in out and "Done, because" in out
    status, _, err = call(capsys, "run", *QUICK, f"run_dir={finished}", "model.lr=0.5")
    assert (
        status == 2
        and err.startswith("Error: model.lr: expected 0.003, as at the start of the run in")
        and err.count("\n") == 1
    )
    assert (finished / "rounds.jsonl").read_bytes() == before


def test_another_setting_is_refused_before_the_images_are_read(finished, capsys, monkeypatch):
    monkeypatch.setattr("dal.cli.run.load_for_run", None)
    with pytest.raises(SystemExit) as done:
        main(["run", f"run_dir={finished}", "seed=77"])
    assert done.value.code == 2 and "got 77. Choose another run_dir, or remove the folder." in capsys.readouterr().err


def test_sweep_runs_the_grid_and_says_which_failed(tmp_path, capsys):
    grid = ["run", "--multirun", *QUICK, "acquisition=random,margin", "seed=1", "campaign.max_rounds=1", "--jobs", "2"]
    target = f"run_dir={tmp_path}/${{acquisition.name}}/seed${{seed}}"
    (tmp_path / "margin" / "seed1").mkdir(parents=True)
    (tmp_path / "margin" / "seed1" / "stranger.txt").write_text("x")
    status, out, err = call(capsys, *grid, target)
    assert status == 1 and "Failed:" in err and "margin/seed1" in err
    assert [str(p.parent.relative_to(tmp_path)) for p in tmp_path.rglob("rounds.jsonl")] == ["random/seed1"]
    assert not (tmp_path / "multirun.yaml").exists()
    assert "1 of 2 runs are done" in out and "random  1 of 1" in out
    status, _, err = call(capsys, *grid, target, "acquisition.draws=1")
    assert status == 2 and "acquisition: expected one of" in err


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["run", "acquisition=blad"], "did you mean bald?"),
        (
            ["run", "data=image_folder", "experiment=none", "run_dir=x"],
            "data.root: expected an existing folder of images",
        ),
        (["rank", "nowhere"], "run: expected a run folder, got 'nowhere'"),
        (["report", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = call(capsys, *arguments)
    assert status == 2 and message in err and err.startswith("Error: ") and err.count("\n") == 1
    assert not list(tmp_path.iterdir()), "nothing half-written"


def test_rank_orders_the_unlabeled_pool(finished, capsys, tmp_path):
    status, out, _ = call(capsys, "rank", finished)
    assert status == 0 and "1,237 images ranked by margin" in out
    ranking = pd.read_csv(finished / "ranking_margin.csv")
    labeled = pd.read_csv(finished / "selections.csv")
    assert list(ranking.columns) == ["rank", "index", "id", "score"]
    assert ranking["rank"].tolist() == list(range(1297 - 60))
    assert set(ranking["id"]).isdisjoint(labeled["id"]) and ranking["score"].is_monotonic_decreasing
    output = tmp_path / "new" / "bald.csv"
    status, _, _ = call(
        capsys, "rank", finished, "acquisition=bald", "acquisition.num_draws=3", "--top", 5, "--output", output
    )
    assert status == 0 and len(list(csv.DictReader(output.open()))) == 5
    link = tmp_path / "link.csv"
    link.symlink_to(output)
    assert call(capsys, "rank", finished, "--top", 3, "--output", link)[0] == 0
    assert link.is_symlink() and len(list(csv.DictReader(output.open()))) == 3
    os.mkfifo(tmp_path / "pipe")
    status, _, err = call(capsys, "rank", finished, "--output", tmp_path / "pipe")
    assert status == 2 and "output: expected a file, got" in err and "a pipe" in err and (tmp_path / "pipe").is_fifo()
    status, _, err = call(capsys, "rank", finished, "--pool", tmp_path)
    assert status == 2 and "--pool: expected a run on data=image_folder" in err


def test_report_draws_what_it_is_given(finished, capsys, tmp_path):
    status, out, _ = call(capsys, "report", finished.parent, "--output", tmp_path / "report")
    assert status == 0 and "margin" in out
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == ["bills.png", "learning_curve.png", "summary.csv"]


def test_a_folder_of_images_from_labels_to_a_ranking_of_new_ones(tmp_path, capsys):
    shades = {"dark": 40, "light": 200}
    for name, shade in shades.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(30):
            Image.new("RGB", (20 + i, 24), (shade + i % 5, shade, shade)).save(tmp_path / "images" / name / f"{i}.jpg")
    (tmp_path / "images" / "dark" / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "new").mkdir()
    for i in range(4):
        Image.new("L", (16, 16), 60 * i).save(tmp_path / "new" / f"{i}.png")
    run = tmp_path / "run"
    settings = [
        "experiment=image_folder",
        f"data.root={tmp_path / 'images'}",
        "data.image_size=16",
        "model.backbone=small_cnn",
    ]
    settings += ["campaign.initial_size=6", "campaign.query_size=6", "campaign.budget=16", "campaign.validation_size=4"]
    settings += ["training.max_updates=100", f"run_dir={run}"]
    with pytest.warns(UserWarning, match=r"broken\.jpg"):
        status, out, err = call(capsys, "run", *settings)
    assert status == 0, err
    assert json.loads((run / "data.json").read_text())["classes"] == ["dark", "light"]
    assert "dark/broken.jpg" in json.loads((run / "data.json").read_text())["set_aside"]
    assert "2 classes: dark, light" in out
    rows = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
    assert rows[-1]["test_accuracy"] == 1.0
    # The training images are not read, so there is no warning of the broken one.
    status, _, err = call(capsys, "rank", run, "--pool", tmp_path / "new")
    assert status == 0, err
    assert sorted(pd.read_csv(run / "ranking_margin_of_new.csv")["id"]) == [f"{i}.png" for i in range(4)]
    assert not (run / "ranking_margin.csv").exists()


@pytest.mark.parametrize(
    "setting,message",
    [
        ("oracle.noise=2", "oracle.noise: expected a probability"),
        ("campaign.target_metric=foo", "campaign.target_metric: expected one of"),
        ("campaign.validation_size=5000", "campaign."),
        ("training.monitor=val_loss training.average=0", "training.monitor: expected train_accuracy or auto"),
        ("campaign.cost_optimum=true", "prices.accuracy_point: expected a price"),
        ("model.final_backbone=nope", "model.final_backbone: expected one of"),
        ("+trainer.max_epochs=3", "trainer.max_epochs: dal controls this option"),
        ("trainer.precision=foo", "trainer: expected options that Lightning accepts, got: "),
        ("+trainer.nope=3", "trainer: expected one of accelerator, "),
        (
            "+trainer.callbacks=[foo]",
            "trainer.callbacks: expected callbacks, such as EarlyStopping('val_loss'), got 'f",
        ),
        ("+trainer.fast_dev_run=true", "trainer.fast_dev_run: dal controls this option. Set training.max_updates"),
        ("trainer.devices=10000 trainer.accelerator=cpu", "trainer.devices: expected at most "),
        ("trainer.deterministic=abc", "trainer.deterministic: expected true, false or warn, got 'abc'."),
        ("trainer.gradient_clip_val=nan", "trainer.gradient_clip_val: expected a number from 0, or null, got nan."),
        ("+trainer.logger={save_dir:x}", "trainer.logger: expected {_target_: CLASS, ARGUMENT: VALUE, ...}, got {"),
        (
            "+trainer.logger={_target_:no.such.Logger}",
            "trainer.logger: expected a class that Python can import as _target_, ",
        ),
        ("trainer.strategy=foo", "trainer: expected options that Lightning accepts, got: "),
        ("model.dropout=0 model.backbone_dropout=0 acquisition=bald", "Add nn.Dropout"),
    ],
)
def test_wrong_settings_leave_no_folder(setting, message, tmp_path, capsys):
    status, _, err = call(
        capsys, "run", *QUICK, "campaign.budget=9000", *setting.split(), f"run_dir={tmp_path / 'run'}"
    )
    assert status == 2 and message in err and err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_setting_that_fails_in_the_first_round_can_be_put_right(tmp_path, capsys):
    status, _, err = call(
        capsys,
        "run",
        *QUICK,
        "model.optimizer=sgd",
        "model.lr=1000",
        "model.momentum=0.99",
        "trainer.accelerator=cpu",  # in another order of additions, the loss stays finite by chance
        f"run_dir={tmp_path / 'run'}",
    )
    assert status == 2 and err.startswith("Error: loss: expected a finite number")
    status, _, err = call(capsys, "run", *QUICK, "campaign.max_rounds=1", f"run_dir={tmp_path / 'run'}")
    assert status == 0, err
    assert len((tmp_path / "run" / "selections.csv").read_text().splitlines()) == 21


def test_a_run_dir_that_cannot_be_made_is_one_sentence(finished, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    status, _, err = call(capsys, "run", *QUICK, f"run_dir={tmp_path / 'file' / 'run'}")
    sentence = "cannot be used (Not a directory). Choose another path, because a part of this one is a file."
    assert status == 1 and sentence in err and err.count("\n") == 1
    # Reports refuse the same place with the same status.
    status, _, err = call(capsys, "report", str(finished), "--output", str(tmp_path / "file" / "run"))
    assert status == 1 and sentence in err and err.count("\n") == 1


def test_train_and_test_folders_are_not_taken_for_classes(tmp_path, capsys):
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name / "1.png")
    status, _, err = call(capsys, "run", "experiment=image_folder", f"data.root={tmp_path}", f"run_dir={tmp_path}/r")
    assert status == 2 and "data.test_root=.../test" in err


@pytest.mark.parametrize("order", [["--cfg", "job", "data=image_folder"], ["data=image_folder", "--cfg", "job"]])
def test_flags_may_stand_anywhere(order):
    done = dal("run", *order)
    assert done.returncode == 0 and "image_size: 64" in done.stdout, done.stderr


def test_help_names_the_commands(capsys):
    status, out, _ = call(capsys, "--help")
    assert status == 0 and all(command in out for command in ("run", "rank", "report", "compare"))


def test_two_processes_train_one_campaign(tmp_path):
    """Lightning's own DDP with gloo: one writes, both choose the same."""
    settings = ["trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp", f"run_dir={tmp_path / 'run'}"]
    done = dal("run", *QUICK, "acquisition=bald", "acquisition.num_draws=3", *settings)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert [row["num_labeled"] for row in rows] == [20, 40, 60]
    assert done.stdout.count("Done, because") == 1
    assert rows[0]["samples_backward_train"] == 20 * rows[0]["updates"]
    indices = pd.read_csv(tmp_path / "run" / "selections.csv")["index"]
    assert indices.is_unique and len(indices) == 60
    assert len((tmp_path / "run" / "environment.jsonl").read_text().splitlines()) == 1


def test_awaited_labels_end_a_run_with_status_3_and_the_same_command_goes_on(tmp_path, capsys, monkeypatch):
    arguments = ["run", *QUICK, "campaign.budget=20", f"run_dir={tmp_path / 'run'}"]
    with monkeypatch.context() as patched:
        patched.setattr(DatasetOracle, "__call__", lambda oracle, indices: None)
        status, printed, errors = call(capsys, *arguments)
    assert (status, errors) == (3, "")
    sentence = f"run: waiting for 20 labels of round 0 ({tmp_path / 'run' / 'query.csv'})."
    assert printed.splitlines()[-1] == f"{sentence} Run the same command again once you have them."
    status, printed, _ = call(capsys, *arguments)
    assert status == 0 and "Done, because the label budget is spent." in printed
