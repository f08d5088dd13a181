"""Processes that stand for cells: how one ends does not reach the others."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.processes import wait_for

from dal.errors import DalError
from dal.sweep.cluster import check_launcher, launch
from dal.sweep.grid import expand
from dal.sweep.local import run_locally, slot_environment
from dal.sweep.process import Spawned, how_it_ended

ENDINGS = {
    0: "print('fine')",
    1: "raise RuntimeError('no such luck')",
    2: "import os, signal; print('Error: earlier'); os.kill(os.getpid(), signal.SIGKILL)",
    3: "import sys; print('Error: seed: expected another.', file=sys.stderr); sys.exit(2)",
    4: "import sys; print('last words'); sys.exit(7)",
    5: "pass",
}


@pytest.fixture
def cells(tmp_path):
    return expand(["seed=range(6)", f"run_dir={tmp_path}/${{seed}}"])


def seed_of(overrides):
    return int(overrides[0].removeprefix("seed="))


def test_a_crash_of_one_does_not_end_the_rest(cells, tmp_path, spawning):
    ended = {}
    run_locally(
        cells,
        2,
        lambda cell: tmp_path / "logs" / f"{cell.seed}.log",
        on_end=lambda cell, status, seconds: ended.update({cell.seed: status}),
        begin=spawning(lambda overrides: [sys.executable, "-c", ENDINGS[seed_of(overrides)]]),
    )
    assert ended == {0: 0, 1: 1, 2: -signal.SIGKILL, 3: 2, 4: 7, 5: 0}
    reasons = [how_it_ended(tmp_path / "logs" / f"{seed}.log") for seed in range(1, 5)]
    assert reasons == [
        "RuntimeError: no such luck",
        "killed by SIGKILL, possibly out of memory",
        "seed: expected another.",
        "last words (exit status 7)",
    ]


def test_so_many_at_a_time_in_order(cells, tmp_path, spawning):
    started, most = [], []
    # None ends before three are running, however slowly processes start.
    waits = "import pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.02)"

    def look(running):
        most.append(len(running))
        if len(running) == 3:
            (tmp_path / "three").touch()

    run_locally(
        cells,
        3,
        lambda cell: tmp_path / f"{cell.seed}.log",
        on_start=lambda cell: started.append(cell.seed),
        on_look=look,
        begin=spawning(lambda overrides: [sys.executable, "-c", waits, str(tmp_path / "three")]),
    )
    assert started == list(range(6)) and max(most) == 3 and most[-1] == 0


def test_on_leaving_nothing_is_at_work(cells, tmp_path, spawning):
    """The standard input of a cell ends, which it takes for a Ctrl-C."""
    waits = "import sys, pathlib; sys.stdin.read(); pathlib.Path(sys.argv[1]).write_text('ended')"

    def leave(running):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_locally(
            cells,
            2,
            lambda cell: tmp_path / f"{cell.seed}.log",
            on_look=leave,
            begin=spawning(lambda o: [sys.executable, "-c", waits, str(tmp_path / f"{seed_of(o)}.txt")]),
        )
    assert sorted(p.name for p in tmp_path.glob("*.txt")) == ["0.txt", "1.txt"]
    assert how_it_ended(tmp_path / "0.log") == "interrupted together with its parent process"
    assert how_it_ended(tmp_path / "5.log") == "the process never started"


def test_a_process_that_does_not_listen_is_killed(tmp_path):
    spawned = Spawned([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log")
    spawned.stop(grace_seconds=0.2)
    assert spawned.poll() == -signal.SIGKILL


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_cell_ends_with_the_one_that_started_it(tmp_path):
    """Killed with SIGKILL, which nothing can catch: the cell left behind takes the end of its input for a Ctrl-C."""
    cell = (
        "import pathlib, time; from dal.cli.cell_process import end_with_standard_input; end_with_standard_input()\n"
        f"try: pathlib.Path({str(tmp_path / 'up')!r}).touch(); time.sleep(600)\n"
        f"except KeyboardInterrupt: pathlib.Path({str(tmp_path / 'interrupted')!r}).touch()"
    )
    parent = (
        "import sys, pathlib; from dal.sweep.process import Spawned\n"
        f"Spawned([sys.executable, '-c', {cell!r}], pathlib.Path({str(tmp_path / 'log')!r})).process.wait()"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    wait_for((tmp_path / "up").exists)
    process.kill()
    process.wait()
    wait_for((tmp_path / "interrupted").exists)


def test_cores_and_gpus_are_shared_out():
    assert slot_environment(0, 1, {}, cores=8) == {}
    assert slot_environment(0, 3, {}, cores=8) == {"OMP_NUM_THREADS": "2"}
    assert slot_environment(0, 16, {}, cores=8) == {"OMP_NUM_THREADS": "1"}
    assert slot_environment(0, 3, {"OMP_NUM_THREADS": "5"}, cores=8) == {}
    gpus = [slot_environment(s, 5, {"OMP_NUM_THREADS": "1"}, 8, ["2", "3"]) for s in range(5)]
    assert [g["CUDA_VISIBLE_DEVICES"] for g in gpus] == ["2", "3", "2", "3", "2"]
    assert slot_environment(1, 2, {"OMP_NUM_THREADS": "1"}, 8, ["0"]) == {}


def test_hydras_launchers_run_every_cell_whatever_becomes_of_one(cells, tmp_path, monkeypatch):
    """By the launcher that Hydra brings along; those of SLURM and Ray get the same tasks."""
    import dal.sweep.cluster

    monkeypatch.setattr(
        dal.sweep.cluster, "cell_command", lambda overrides: [sys.executable, "-c", ENDINGS[seed_of(overrides)]]
    )
    folder = tmp_path / "a b"
    logs = [folder / f"{cell.seed}.log" for cell in cells]
    arguments, here = sys.argv, Path.cwd()
    launch(cells, logs, ["hydra/launcher=basic"], folder)
    assert sys.argv is arguments and Path.cwd() == here
    assert [log.read_text().splitlines()[-1] for log in logs] == [f"[dal] exit status {s}" for s in (0, 1, -9, 2, 7, 0)]
    with pytest.raises(DalError, match="hydra/launcher=nope: the launcher failed with exit status 1"):
        launch(cells, logs, ["hydra/launcher=nope"], folder)


@pytest.mark.parametrize("name,extra", [("slurm", "slurm"), ("ray_cluster", "ray")])
def test_a_launcher_that_is_missing_says_what_to_install(name, extra, monkeypatch):
    import dal.sweep.cluster

    monkeypatch.setattr(dal.sweep.cluster, "_found", lambda module: False)
    with pytest.raises(
        DalError, match=rf"hydra/launcher={name}: the package .* is missing. Install it: pip install -e '\.\[{extra}\]'"
    ):
        check_launcher(name)
    check_launcher("basic")
