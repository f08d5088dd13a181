"""The scripts of benchmarks/ and scripts/: they import, accept their commands, and write results from runs."""

import argparse
import importlib.util
import json
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from helpers.benchmark_scripts import BENCHMARKS, imported, use_small_fashion
from helpers.synthetic_runs import flops_of, write_paired_run, write_run

from dal.config.overrides import compose
from dal.config.schema import build

SCRIPTS = BENCHMARKS.parent / "scripts"
README = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
NAMES = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
ALONE = sorted(path.stem for path in SCRIPTS.glob("*.py"))
STARTED = {"git_commit": "abc", "started": "2026-01-01T00:00:00"}


def other_script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands():
    """Return the words of every command in the README and in the heads of the scripts."""
    heads = [
        path.read_text(encoding="utf-8").split('"""')[1] for path in (*BENCHMARKS.glob("*.py"), *SCRIPTS.glob("*.py"))
    ]
    found = re.findall(r"^ *python ((?:benchmarks|scripts)/.*)", "\n".join([README, *heads]), flags=re.MULTILINE)
    return [shlex.split(line.replace("[FOLDER]", "FOLDER"), comments=True) for line in sorted(set(found))]


class Parsed(Exception):
    pass


def run(monkeypatch, script, *arguments):
    monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, arguments)])
    return script.main()


def written_run(write, command, accuracies, **options):
    """Write the run of a command of dal instead of running it, and return its folder."""
    folder = Path(next(o for o in command if o.startswith("run_dir=")).removeprefix("run_dir="))
    write(folder, accuracies, **options)
    (folder / "environment.jsonl").write_text(json.dumps(STARTED) + "\n")
    return folder


def costs(round):
    return flops_of(round) | {"best_update": 80}


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_imports(name):
    imported(name)


@pytest.mark.parametrize("command", commands(), ids=shlex.join)
def test_a_command_has_existing_options(monkeypatch, command):
    path = Path(command[0])
    script = imported(path.stem) if path.parent.name == "benchmarks" else other_script(path.stem)
    parse = argparse.ArgumentParser.parse_known_intermixed_args

    def parsed(parser, *arguments, **options):
        parse(parser, *arguments, **options)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", lambda parser: parser.parse_intermixed_args())
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_intermixed_args", parsed)
    with pytest.raises(Parsed):
        run(monkeypatch, script, *command[1:])


@pytest.mark.parametrize("name", [*NAMES, *ALONE])
def test_a_script_with_a_command_shows_its_help(monkeypatch, capsys, name):
    script = other_script(name) if name in ALONE else imported(name)
    if not hasattr(script, "main"):
        assert "no command" in script.__doc__
        return
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, script, "--help")
    said = capsys.readouterr().out
    assert end.value.code == 0 and script.__doc__.strip().splitlines()[0] in said
    assert "option_strings" not in said, "a percent sign in a help text needs to be doubled"


def test_the_guide_lists_every_script_with_a_command_for_users():
    listed = set(re.findall(r"`(\w+)\.py`", README.partition("## Run them")[2]))
    heads = {name: (BENCHMARKS / f"{name}.py").read_text(encoding="utf-8").split('"""')[1] for name in NAMES}
    own = {name for name, head in heads.items() if f"python benchmarks/{name}.py" in head}
    assert own - {"fashion"} == listed


def test_initial_sets_are_summed_up_against_random():
    script = imported("initial_sets")
    rows = [
        {"seed": seed, "policy": policy, "labels": size, "accuracy": 0.5 + gain + 0.1 * seed, "classes": 8 + seed}
        for seed in (0, 1)
        for policy, gain in (("random", 0.0), ("typiclust", 0.2), ("kmeans", 0.1))
        for size in script.SIZES
    ]
    found = {(line["note"], line["labels"]): line for line in script.summary(rows)}
    assert len(found) == 9
    assert found["typiclust", 20]["minus random, points"] == "+20.0 ± 0.0"
    assert found["random", 50]["accuracy %"].startswith("55.0 ± ")
    assert found["kmeans", 100]["classes found"] == "8.5 of 10"


def test_every_override_of_compute_saving_is_accepted():
    module, campaigns = imported("compute_variants"), imported("campaigns")
    left = dict.fromkeys(campaigns.chosen("bald:num_draws=5"))
    for data, shared in module.CAMPAIGNS.items():
        left |= dict.fromkeys([*shared, *(o for overrides in module.variants(data).values() for o in overrides)])
    while left:
        # One override of each key at a time, because a composition takes a while.
        together = list({override.partition("=")[0]: override for override in left}.values())
        compose(together)
        left = {override: None for override in left if override not in together}


def test_compute_saving_writes_results_of_its_runs(monkeypatch, tmp_path):
    script = imported("compute_saving")

    def done(command):
        accuracies = [0.5, 0.6, 0.7] if "compute=saver" in command else [0.4, 0.6, 0.7]
        if "seed=0" in command:  # one of them, because a composition takes a while
            build(compose(command[1:]))
        return bool(written_run(write_run, command, accuracies, extra=costs))

    monkeypatch.setattr(script, "run", done)
    options = ["--jobs", 1, "--seeds", 2, "--variants", "saver", "--runs", tmp_path / "runs"]
    assert run(monkeypatch, script, "digits", *options, "--results", tmp_path / "results") == 0
    (table,) = tmp_path.glob("results/*/margin.csv")
    saver = pd.read_csv(table).set_index("contender").loc["saver"]
    assert saver["area - classic"] == pytest.approx(2.5) and saver["FLOPs_share"] == 1


def test_full_data_writes_results_of_its_runs(monkeypatch, tmp_path):
    script = imported("full_data")

    def done(command):
        build(compose(command[1:]))
        accuracies = [0.8] if "acquisition=random" in command else [0.6, 0.8]
        return bool(written_run(write_run, command, accuracies, extra=costs))

    monkeypatch.setattr(script, "run", done)
    options = [
        "--quick",
        "--jobs",
        1,
        "--seeds",
        1,
        "--functions",
        "margin",
        "--recipes",
        "saver",
        "long_saver",
        "--runs",
        tmp_path / "runs",
        "--results",
        tmp_path / "results",
    ]
    assert run(monkeypatch, script, *options) == 0
    (table,) = tmp_path.glob("results/*/accuracy.csv")
    found = pd.read_csv(table)
    assert found["contender"].tolist() == ["all labels, once", "dal saver, margin", "dal long_saver, margin"]
    assert found["reached"].tolist() == [1, 1, 1]


def test_acquisition_functions_keeps_the_tables_without_paths(monkeypatch, tmp_path):
    script = imported("acquisition_functions")
    swept = []

    def sweep(command, env):
        swept.extend(command[3:])
        shared = [o for o in command[5:-2] if not o.startswith(("acquisition=", "seed="))]
        run_dir = compose([*shared, "acquisition=margin", "seed=7"])["run_dir"]
        for seed in range(3):
            for name, last in {"random": 0.6, "margin": 0.7}.items():
                cell = f"run_dir={run_dir.replace('margin/seed7', f'{name}/seed{seed}')}"
                curve = [0.5, last + 0.01 * seed]
                written_run(write_paired_run, [cell], curve, acquisition=name, seed=seed)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(script, "subprocess", SimpleNamespace(run=sweep))
    options = ["--functions", "random", "margin", "--seeds", 3, "--jobs", 1, "--runs", tmp_path / "runs"]
    assert run(monkeypatch, script, "low_budget", "digits", *options, "--results", tmp_path / "results") == 0
    assert "acquisition=random,margin" in swept and "seed=range(3)" in swept
    assert swept[:2] == ["run", "--multirun"] and swept[-2:] == ["--jobs", "1"]
    (folder,) = tmp_path.glob("results/*")
    text = re.search(r"```text\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)[1]
    assert "margin" in text and "comparison.html" not in text and str(tmp_path) not in text
    assert (folder / "learning_curves.png").read_bytes() == b"picture" and not list(folder.glob("*.html"))


def test_stopping_rules_replays_finished_runs(monkeypatch, tmp_path, capsys):
    script = imported("stopping_rules")
    assert run(monkeypatch, script, tmp_path / "none") == 2
    for seed in range(2):
        write_run(tmp_path / f"runs/plain/seed{seed}", [0.5, 0.85, 0.9, 0.9], extra=flops_of, seed=seed)
    assert run(monkeypatch, script, tmp_path / "runs", "--results", tmp_path / "results") == 0
    (table,) = tmp_path.glob("results/*/by_recipe.csv")
    rows = pd.read_csv(table).set_index("rule")
    assert rows.loc["target 0.8", "labels"] == 20 and rows.loc["to the end", "never"] == 2


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Settings of the whole experiment that train for a moment, on noise."""
    use_small_fashion(monkeypatch, tmp_path, train=61)
    monkeypatch.chdir(tmp_path)
    contenders = imported("experiment_contenders")
    return contenders.Settings(pool=40, initial=10, query=5, rounds=1, epochs=1, batch_size=10, draws=2)


def test_one_experiment_runs_the_loop_by_hand_and_dal(monkeypatch, tmp_path, tiny):
    script, contenders = imported("one_experiment"), imported("experiment_contenders")

    def here(command, **options):
        monkeypatch.setattr(sys, "argv", command[1:])
        return SimpleNamespace(returncode=contenders.main(), stdout="", stderr="")

    monkeypatch.setattr(script, "subprocess", SimpleNamespace(run=here))
    monkeypatch.setattr(script, "QUICK", tiny)
    monkeypatch.setattr(script, "SAVER", ["compute=saver", "training.max_updates=4", "training.min_updates=1"])
    options = ["--quick", "--seeds", 1, "--contenders", "by_hand", "dal_classic", "dal_saver"]
    options += ["--threads", torch.get_num_threads(), "--runs", tmp_path / "runs", "--results", tmp_path / "results"]
    assert run(monkeypatch, script, *options) == 0
    (table,) = tmp_path.glob("results/*/time.csv")
    times = pd.read_csv(table).set_index("contender")
    assert (times.loc["dal, classic", ["median_s", "train s", "score s", "test s"]] > 0).all()
    (table,) = tmp_path.glob("results/*/accuracy.csv")
    updates = pd.read_csv(table).set_index("contender")["updates"]
    assert updates["floor, hand-written"] == updates["dal, classic"] == 3


def test_shared_draws_scores_points_with_the_same_networks(monkeypatch, tmp_path, tiny):
    script, by_hand, contenders = map(imported, ("shared_draws", "experiment_by_hand", "experiment_contenders"))
    monkeypatch.setattr(by_hand, "bald", by_hand.bald)  # the script replaces it
    monkeypatch.setattr(script, "Settings", lambda: tiny)
    cells = {name: script.accuracies((0, name)) for name in script.CONTENDERS}
    assert all(len(curve) == 2 for curve in cells.values())
    assert script.row(script.OWN, *[torch.tensor([cells[script.OWN]] * 2).numpy()] * 2)["area - first"] == 0
    images = torch.rand(1, 1, 28, 28).repeat(3, 1, 1, 1)
    model = contenders.Images(tiny, seed=0).new_model(round=0)
    shared, own = (script.bald(model, images, 3, shared=shared) for shared in (True, False))
    assert len(shared.unique()) == 1 and len(own.unique()) == 3
