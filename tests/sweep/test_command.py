"""dal run --multirun as a person uses it."""

import csv
import io
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from helpers import processes
from helpers.processes import wait_for
from rich.console import Console

from dal.cli.main import main
from dal.cli.run import run_campaign
from dal.config.overrides import compose
from dal.errors import DalError
from dal.sweep.command import sweep_command, visible_gpus
from dal.sweep.grid import expand
from dal.sweep.status import RunStatus, run_status
from dal.sweep.table import grid_table

QUICK = ["campaign.initial_size=10", "campaign.query_size=10", "campaign.growth=1", "data.max_train=300"]
QUICK += ["training.min_updates=10", "training.max_updates=20", "campaign.stop_set_size=0", "campaign.budget=40"]
GRID = ["acquisition=random,margin", "seed=5", *QUICK]
TIMES = ("seconds_", "peak_memory_bytes", "joules_")


def target(folder):
    return f"run_dir={folder}/${{acquisition.name}}/${{seed}}"


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return caught.value.code or 0, printed.out, printed.err


def outcome(folder):
    """What must not depend on how often it was interrupted: selections, metrics and the table of them."""
    found = {}
    for journal in sorted(folder.rglob("rounds.jsonl")):
        rows = [json.loads(line) for line in journal.read_text().splitlines()]
        counted = [{k: v for k, v in row.items() if not k.startswith(TIMES)} for row in rows]
        found[str(journal.parent.relative_to(folder))] = counted, (journal.parent / "selections.csv").read_text()
    return found


def table(folder):
    with (folder / "summary.csv").open() as file:
        return [{k: v for k, v in line.items() if not k.startswith(TIMES)} for line in csv.DictReader(file)]


def is_at_work(log):
    return log.exists() and "images in the pool" in log.read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    for cell in expand([*GRID, target(folder)]):
        run_campaign(cell.config)
    return folder


def must_not_start(overrides, *where):
    raise AssertionError(f"started {overrides}")


def test_finished_cells_are_skipped_and_the_table_is_printed(undisturbed, capsys):
    before = {p: p.stat().st_mtime_ns for p in undisturbed.rglob("rounds.jsonl")}
    console = Console(file=io.StringIO(), width=140)
    assert sweep_command([*GRID, target(undisturbed)], begin=must_not_start, console=console) == 0
    printed = console.file.getvalue()
    assert "2 of 2 runs are already done." in printed and "margin  1 of 1" in printed and "Δ random" in printed
    assert before == {p: p.stat().st_mtime_ns for p in undisturbed.rglob("rounds.jsonl")}
    assert {line["acquisition"] for line in table(undisturbed)} == {"random", "margin"}


def test_killed_and_interrupted_and_started_again_it_ends_the_same(undisturbed, tmp_path, capsys, monkeypatch):
    """SIGKILL of the sweep in its first cell, Ctrl-C in its second, then none: real processes."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    command = ["run", "--multirun", *GRID, target(tmp_path)]
    with processes.Process(["-m", "dal", *command]) as process:
        wait_for(lambda: is_at_work(tmp_path / ".sweep" / "random_5.log"))
        process.send_signal(signal.SIGSTOP)  # or it could start the second cell before the kill
        wait_for(lambda: (tmp_path / "random" / "5" / "rounds.jsonl").exists())
        started = psutil.Process(process.pid).children(recursive=True)
        server = next(one for one in started if one.ppid() == process.pid and "forkserver" in " ".join(one.cmdline()))
        threads = [(task / "comm").read_text().strip() for task in Path(f"/proc/{server.pid}/task").iterdir()]
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    # What a thread holds when a process is forked is held for ever there. jemalloc, in pyarrow, handles forks.
    assert len([name for name in threads if name != "jemalloc_bg_thd"]) == 1
    # The fork server and its cell end with the sweep.
    wait_for(lambda: not any(one.is_running() for one in started))
    cells = expand([*GRID, target(tmp_path)])
    # What was at work ends by itself, and leaves a folder that nobody holds.
    wait_for(
        lambda: "Stopped" in (tmp_path / ".sweep" / "random_5.log").read_text() or run_status(cells[0]).labels == 40
    )
    assert not (tmp_path / "margin").exists()

    # Ctrl-C, as soon as the second cell is at work. The sweep is there to get it, also if the cell ends meanwhile.
    with processes.Process(["-m", "dal", *command]) as process:
        wait_for(lambda: is_at_work(tmp_path / ".sweep" / "margin_5.log"))
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: (tmp_path / "margin" / "5" / "rounds.jsonl").exists())
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        assert process.wait() == 130
        out, _ = process.output()
    assert "Stopped. The same command resumes the sweep." in out and "random  1 of 1" in out

    status, out, err = call(capsys, *command, "--jobs", "2")
    assert status == 0, err
    assert "2 of 2 runs are done" in out
    assert outcome(tmp_path) == outcome(undisturbed)
    sweep_command([*GRID, target(undisturbed)], begin=must_not_start, console=Console(quiet=True))
    assert table(tmp_path) == table(undisturbed)


def test_what_cannot_go_on_is_reported_and_the_rest_runs(tmp_path, capsys, spawning):
    cells = expand([*GRID, target(tmp_path)])
    run_campaign(compose([*cells[0].overrides, "campaign.max_rounds=1"]))
    (tmp_path / "random" / "5" / "state.json").write_text("{")
    (tmp_path / "margin" / "5").mkdir(parents=True)

    def fake(overrides):
        config = compose(list(overrides))
        assert config["acquisition"]["name"] == "margin"
        return [sys.executable, "-c", "import sys; print('Error: seed: expected luck.'); sys.exit(2)"]

    assert sweep_command([*GRID, target(tmp_path)], begin=spawning(fake)) == 1
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert lines[-3].startswith(f"Failed: {tmp_path}/random/5: run: state.json in ")
    assert lines[-2] == f"Failed: {tmp_path}/margin/5: seed: expected luck."
    assert "[2 of 2] margin, seed 5: FAILED: seed: expected luck." in out and "0 of 2 runs are done" in out
    # A process that ends well without having done its work is no success.
    quiet, idle = Console(file=io.StringIO()), spawning(lambda overrides: [sys.executable, "-c", ""])
    assert sweep_command([*GRID, target(tmp_path)], console=quiet, begin=idle) == 1
    assert "the process ended before its campaign" in quiet.file.getvalue()


def test_what_is_killed_when_all_is_done_is_done(tmp_path, capsys, spawning):
    wanted = ["acquisition=random", "seed=5", *QUICK, "campaign.budget=20", target(tmp_path)]

    def killed_at_the_end(overrides):
        run_campaign(compose(list(overrides)))
        return [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]

    assert sweep_command(wanted, begin=spawning(killed_at_the_end)) == 0
    assert "random, seed 5: done, " in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--jobs", "0"], "--jobs: expected at least 1 run at a time, got 0"),
        (["--jobs", "many"], "--jobs: expected the number of runs at a time, such as --jobs 2, got 'many'"),
        (["--jobs"], "--jobs: expected the number of runs at a time"),
        (["--jobs=2", "hydra/launcher=basic"], "--jobs: expected no --jobs with hydra/launcher"),
        (["hydra.launcher.partition=gpu"], "expected hydra/launcher=NAME on the same command line"),
        (["model.lr=0.1,0.2"], "run_dir: expected a separate folder for each run"),
        (["seed=1,2", "run_dir=fixed"], "such as 'run_dir=runs/${data.name}/${acquisition.name}/seed${seed}'."),
        (["seed=1,2", "campaign.bugdet=3"], "did you mean budget"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = call(capsys, "run", "--multirun", *arguments)
    assert status == 2 and message in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_table_while_it_runs(tmp_path):
    cells = expand(["acquisition=random,margin", "seed=range(3)", "campaign.budget=300", target(tmp_path)])
    statuses = {cell.run_dir: RunStatus() for cell in cells}
    statuses[cells[0].run_dir] = RunStatus("done", 300, 0.75, 100.0)
    statuses[cells[1].run_dir] = RunStatus("done", 300, 0.85, 260.0)
    statuses[cells[2].run_dir] = RunStatus("begun", 120, 0.5, 60.0)
    console = Console(width=100, file=io.StringIO())
    console.print(grid_table(cells, statuses, [cells[2]], {cells[4].run_dir: "why"}, "about 5 min left"))
    lines = [line.strip() for line in console.file.getvalue().splitlines()]
    assert lines[0] == "2 of 6 runs are done" and "about 5 min left" in lines
    (random,) = [line.split() for line in lines if line.startswith("random")]
    (margin,) = [line.split() for line in lines if line.startswith("margin")]
    assert " ".join(random) == "random 2 of 3 seed 2: 120 of 300 labels 80.0 3 min"
    assert " ".join(margin) == "margin 0 of 3 2 seed 1"


def test_on_a_terminal_the_table_is_live(tmp_path, spawning):
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    fake = [sys.executable, "-c", "import time; time.sleep(0.3); print('Error: no')"]
    assert sweep_command([*GRID, target(tmp_path)], console=console, begin=spawning(lambda o: fake)) == 1
    assert console.file.getvalue().count("0 of 2 runs are done") >= 2


def test_gpus_are_shared_out_only_among_runs_of_one_device(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    (cell,) = expand(["seed=1"])

    def with_trainer(**changes):
        return [replace(cell, config=cell.config | {"trainer": cell.config["trainer"] | changes})]

    assert visible_gpus([cell]) == ["4", "5"]
    assert visible_gpus(with_trainer(devices=2)) == visible_gpus(with_trainer(accelerator="cpu")) == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert visible_gpus([cell]) == ["0", "1", "2"]


def test_a_function_of_ones_own_is_swept(tmp_path, capsys):
    file = tmp_path / "first_ones.py"
    file.write_text(
        "from dal.acquisition.base import ScoreFunction\n\n"
        "class FirstOnes(ScoreFunction):\n    def score(self, model, x):\n        return -x.flatten(1).sum(dim=1)\n"
    )
    grid = [f"acquisition=random,{file}", "seed=5", *QUICK, "campaign.budget=20", target(tmp_path / "runs")]
    for cell in expand(grid):
        run_campaign(compose(list(cell.overrides)))
    assert sweep_command(grid, begin=must_not_start) == 0
    assert "first_ones  1 of 1" in capsys.readouterr().out
    compared = {line["acquisition"]: bool(line["area_minus_random"]) for line in table(tmp_path / "runs")}
    assert compared == {"random": False, "first_ones": True}

    # What is edited between the start of a sweep and that of a cell is another function.
    before = expand(grid)[1].overrides
    file.write_text(file.read_text().replace("return -", "return +"))
    with pytest.raises(DalError, match=r"acquisition.file: expected '.*first_ones.py' as it was \(digest "):
        run_campaign(compose([*before, f"run_dir={tmp_path}/again"]))
    assert not (tmp_path / "again").exists()
    run_campaign(compose([*expand(grid)[1].overrides, f"run_dir={tmp_path}/again"]))
