"""A run killed with SIGKILL and resumed ends as one that nobody touched: the same selections, the same metrics."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed_run.py")
SETTINGS = [
    "campaign.initial_size=20",
    "campaign.query_size=15",
    "campaign.budget=75",
    "campaign.validation_size=10",
    "training.min_updates=20",
    "training.max_updates=40",
    "training.check_every=20",
    "training.warm_start=shrink_perturb",
    "oracle.noise=0.1",
    "data.max_train=400",
    "scoring.batch_size=100",
    "acquisition=bald",
    "acquisition.num_draws=5",
]
TIMES = ("seconds_", "peak_memory_bytes")


def start(point, folder):
    command = [sys.executable, str(SCRIPT), point, str(folder), *SETTINGS]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def outcome(folder):
    rows = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    counted = [{k: v for k, v in row.items() if not k.startswith(TIMES)} for row in rows]
    return (folder / "selections.csv").read_text(), (folder / "validation.csv").read_text(), counted


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    process = start("never", folder)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    result = outcome(folder)
    assert len(result[2]) == 4
    return result


def resume_until_done(folder, points, undisturbed):
    for point in points:
        process = start(point, folder)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, f"{point}: {output}"
    process = start("never", folder)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert outcome(folder) == undisturbed


def test_killed_while_training_scoring_and_testing(tmp_path, undisturbed):
    resume_until_done(tmp_path / "run", ["train:7", "test:1", "score:1", "train:39", "score:250"], undisturbed)


def test_killed_between_a_journal_and_its_commit(tmp_path, undisturbed):
    # A new folder commits its start, the validation set, a selection and a round; a resumed one what is left of them.
    resume_until_done(tmp_path / "run", ["commit:1", "commit:2", "commit:3", "commit:2", "commit:2"], undisturbed)


def test_killed_from_outside_at_random_moments(tmp_path, undisturbed):
    moments = random.Random(4)
    folder = tmp_path / "run"
    process = start("never", folder)
    while not (folder / "state.json").exists():
        time.sleep(0.05)
    kills = 0
    while kills < 3:
        time.sleep(moments.uniform(0.05, 0.6))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
        process = start("never", folder)
        while process.poll() is None and not held(folder):
            time.sleep(0.05)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert kills
    assert outcome(folder) == undisturbed


def held(folder):
    """Whether the process has begun to work on the folder: it adds a line to what it ran on."""
    environment = folder / "environment.jsonl"
    lines = environment.read_text().count("\n") if environment.exists() else 0
    begun, held.lines = lines > getattr(held, "lines", 1), max(lines, getattr(held, "lines", 1))
    return begun


def test_ctrl_c_leaves_a_folder_that_resumes(tmp_path, undisturbed):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "dal", "run", *SETTINGS, f"run_dir={folder}"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (folder / "tensorboard").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "The same command goes on from there." in output
    assert "Traceback" not in errors
    resume_until_done(folder, [], undisturbed)
