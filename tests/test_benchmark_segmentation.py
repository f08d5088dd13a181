"""benchmarks/segmentation.py judges its targets by the rules that it states, and writes the results of its runs."""

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.benchmark_scripts import imported
from helpers.synthetic_runs import write_run
from matplotlib.figure import Figure
from scipy import stats

from dal.config.overrides import compose
from dal.config.schema import build

STARTED = {"git_commit": "abc", "started": "2026-01-01T00:00:00", "cpu": "a processor"}
CURVES = {  # mIoU after each round
    "region random": [0.2, 0.3, 0.4],
    "region entropy": [0.2, 0.4, 0.5],
    "region stratified": [0.2, 0.4, 0.6],
    "region random_foreground": [0.2, 0.3, 0.3],
    "image random": [0.2, 0.35, 0.45],
    "all masks": [0.8],
}
PIXELS = {"region entropy": 20}
"""Pixels of a query, unless they are 100. The initial set has 100."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Skip the drawing, which takes most of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **options: file.write(b"picture"))


@pytest.fixture
def finished(monkeypatch, tmp_path):
    """The script, whose runs are written instead of run. The commands of the runs are in ``finished.commands``."""
    script = imported("segmentation")
    script.commands = []

    def done(command):
        script.commands.append(command)
        folder = Path(next(o for o in command if o.startswith("run_dir=")).removeprefix("run_dir="))
        name, seed = folder.parent.name.replace("_", " ").replace("random f", "random_f"), int(folder.name[4:])
        curve = [value + 0.002 * (seed - 4) * (1 + len(name) % 3) for value in CURVES[name]]

        def costs(round):
            return {"cost_clicks": 100 * (round + 1), "cost_pixels": 100 + PIXELS.get(name, 100) * round}

        write_run(folder, curve, extra=costs, seed=seed, acquisition=name.replace(" ", "_"))
        (folder / "environment.jsonl").write_text(
            json.dumps(STARTED | {"command": shlex.join(["dal", *command])}) + "\n"
        )
        return True

    monkeypatch.setattr(script.campaigns, "run", done)
    return script


def run(monkeypatch, script, tmp_path, *arguments):
    places = ["--runs", tmp_path / "runs", "--results", tmp_path / "results"]
    monkeypatch.setattr(sys, "argv", ["segmentation.py", *map(str, [*arguments, *places])])
    return script.main()


def test_results_are_written_from_the_runs_and_judged_again_without_running(monkeypatch, tmp_path, finished, capsys):
    assert run(monkeypatch, finished, tmp_path, "--seeds", "3-5") == 0
    assert len(finished.commands) == 18
    (folder,) = tmp_path.glob("results/*")
    written = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".csv", ".png")}
    assert {"clicks.png", "pixels.png", "targets.csv", "rounds.csv"} <= written.keys()
    targets = pd.read_csv(folder / "targets.csv")
    assert targets["verdict"].tolist() == ["HOLDS"] * 5
    assert targets["measured"][0].startswith("40% (") and targets["measured"][1].startswith("67% (")
    said = capsys.readouterr().out
    assert said.count("HOLDS") == 5
    readme = (folder / "README.md").read_text()
    assert all(f"![{axis}]({axis}.png)" in readme for axis in ("clicks", "pixels"))
    facts = json.loads((folder / "targets.json").read_text())
    assert facts["environment_of_the_runs"]["cpu"] == "a processor" and facts["seeds"] == [3, 4, 5]
    assert facts["overrides"]["region entropy"][-1] == "acquisition=entropy"
    rounds = pd.read_csv(folder / "rounds.csv")
    assert len(rounds) == 3 * (5 * 3 + 1)

    assert run(monkeypatch, finished, tmp_path, "--seeds", "3-5", "--judge") == 0
    assert len(finished.commands) == 18
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name in written} == written


def test_a_missed_target_is_printed_as_a_miss(monkeypatch, tmp_path, finished, capsys):
    monkeypatch.setitem(CURVES, "region entropy", [0.2, 0.3, 0.39])
    monkeypatch.setitem(CURVES, "region stratified", [0.2, 0.3, 0.4])
    monkeypatch.setitem(CURVES, "all masks", [0.6])
    assert run(monkeypatch, finished, tmp_path, "--seeds", "3-5") == 0
    (table,) = tmp_path.glob("results/*/targets.csv")
    targets = pd.read_csv(table)
    assert targets["verdict"].tolist() == ["MISSES", "MISSES", "MISSES", "HOLDS", "MISSES"]
    assert targets["measured"][0].startswith("inf")
    assert capsys.readouterr().out.count("MISSES") == 4


def test_unfinished_runs_are_named_and_not_judged(monkeypatch, tmp_path, finished, capsys):
    assert run(monkeypatch, finished, tmp_path, "--seeds", "3", "--contenders", "region random") == 0
    assert run(monkeypatch, finished, tmp_path, "--seeds", "3", "--judge") == 1
    assert "5 of 6 runs are not finished" in capsys.readouterr().out
    assert not list(tmp_path.glob("results/*"))
    assert run(monkeypatch, finished, tmp_path, "--seeds", "3", "--minutes", "0") == 1
    assert len(finished.commands) == 1
    assert run(monkeypatch, finished, tmp_path, "--seeds", "3") == 0  # one seed: no intervals


def test_a_resumed_campaign_is_not_timed(monkeypatch, tmp_path, finished):
    folder = finished.folder_of(tmp_path, "image random", 3)
    finished.run_one(("image random", 3), tmp_path, finished.SIZES, [], float("inf"))
    assert finished.cpu_seconds(folder) >= -1e-9
    monkeypatch.setattr(finished.campaigns, "run", lambda command: True)
    finished.run_one(("image random", 3), tmp_path, finished.SIZES, [], float("inf"))
    assert finished.cpu_seconds(folder) is None


@pytest.mark.parametrize("contender", ["region stratified", "image random", "all masks"])
def test_the_overrides_of_a_contender_are_accepted(contender):
    script = imported("segmentation")
    words = script.command_of(contender, 7, Path("somewhere"), script.SIZES)
    keys = [word.partition("=")[0] for word in words]
    assert len(set(keys)) == len(keys)
    build(compose(words[1:]))


def test_seeds_are_a_range():
    script = imported("segmentation")
    assert script.seeds_of("100-102") == [100, 101, 102] and script.seeds_of("4") == [4]


def test_not_below_is_a_one_sided_paired_t_test_with_a_margin():
    targets = imported("segmentation_targets")
    rng = np.random.default_rng(0)
    for shift in (-3.0, -1.0, 0.0, 2.0):
        one, other = rng.normal(50, 3, 10) + shift, rng.normal(50, 3, 10)
        expected = stats.ttest_rel(one + 1.0, other, alternative="greater").pvalue
        assert targets.not_below(one, other, 1.0) == pytest.approx(expected)
