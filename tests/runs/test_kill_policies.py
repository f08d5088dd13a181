"""Compute-saving policies survive SIGKILL: a run killed at every kind of moment ends as one that nobody touched."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "helpers" / "killed_run.py"
SHARED = [
    "campaign.initial_size=20",
    "campaign.query_size=15",
    "campaign.stop_set_size=50",
    "training.min_updates=10",
    "training.max_updates=20",
    "training.check_every=10",
    "data.max_train=300",
    "scoring.batch_size=50",
    "acquisition=margin",
]
STALE = [
    *SHARED,
    "campaign.budget=97",
    "campaign.validation_size=10",
    "campaign.growth=1.5",
    "training.monitor=auto",
    "training.warm_start=shrink_perturb",
    "candidates.kind=stale",
    "candidates.size=60",
]
SAVER = [*SHARED, "compute=saver", "campaign.budget=72", "candidates.size=100"]
TIMES = ("seconds_", "joules_", "peak_memory_bytes")


def outcome(folder, points, settings):
    """Run to the end, through a death at each point, and return what must not depend on it."""
    command = [sys.executable, str(SCRIPT), str(folder), ",".join(points), *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    counted = [{k: v for k, v in row.items() if not k.startswith(TIMES)} for row in rows]
    validation = folder / "validation.csv"
    bought = validation.read_text() if validation.exists() else None
    return (folder / "selections.csv").read_text(), bought, counted


def total(rows, key):
    return [row[key] for row in rows]


@pytest.fixture(scope="module")
def stale(tmp_path_factory):
    return outcome(tmp_path_factory.mktemp("stale") / "run", [], STALE)


@pytest.fixture(scope="module")
def saver(tmp_path_factory):
    return outcome(tmp_path_factory.mktemp("saver") / "run", [], SAVER)


def test_the_policies_are_at_work(stale, saver):
    rows = stale[2]
    assert total(rows, "num_labeled") == [20, 35, 58, 87], "each query half as large again, 15, 22.5 and the rest"
    assert total(rows, "samples_forward_score")[1:] == [300 - 10 - 20, 60, 60]
    assert total(rows, "warm_start") == ["scratch", *["shrink_perturb"] * 3]
    rows = saver[2]
    assert saver[1] is None and total(rows, "warm_start") == ["scratch", *["continue"] * (len(rows) - 1)]
    assert all(score == 100 for score in total(rows, "samples_forward_score")[1:])
    assert total(rows, "samples_forward_validate") == [0] * len(rows)
    assert all(len(row["stop_predictions"]) == 50 for row in [*rows, *stale[2]])


@pytest.mark.parametrize(
    "points",
    [
        ["train:7", "test:1", "stop:1", "score:1", "train:19", "stop:50", "score:50"],
        # A new folder commits its start, the validation set, a selection and a round; a resumed one what is left.
        ["commit:1", "commit:2", "commit:3", "commit:2", "commit:2", "commit:1", "commit:2"],
    ],
    ids=["phases", "commits"],
)
def test_last_scores_and_growing_queries(tmp_path, stale, points):
    assert outcome(tmp_path / "run", points, STALE) == stale


@pytest.mark.parametrize(
    "points",
    [
        ["train:7", "test:1", "stop:1", "score:1", "train:19", "stop:50", "score:100"],
        ["commit:1", "commit:2", "commit:2", "commit:1", "commit:2"],
    ],
    ids=["phases", "commits"],
)
def test_the_saver(tmp_path, saver, points):
    assert outcome(tmp_path / "run", points, SAVER) == saver
