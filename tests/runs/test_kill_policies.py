"""Compute-saving policies survive SIGKILL: a run killed at every kind of moment ends as one that nobody touched."""

import json

import pytest
from helpers import killed_run, processes

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
    done = processes.run([killed_run.__file__, folder, ",".join(points), *settings])
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
        # Commits are the start, the validation query and its labels, and for each round a query, its labels and the
        # round. These die at the start, the initial query, the first round, and at each of the next four commits.
        ["commit:1", "commit:4", "commit:3", *["commit:2"] * 4],
    ],
    ids=["phases", "commits"],
)
def test_last_scores_and_growing_queries(tmp_path, stale, points):
    assert outcome(tmp_path / "run", points, STALE) == stale


@pytest.mark.parametrize(
    "points",
    [
        ["train:7", "test:1", "stop:1", "score:1", "train:19", "stop:50", "score:100"],
        ["commit:1", "commit:4", *["commit:2"] * 3],
    ],
    ids=["phases", "commits"],
)
def test_the_saver(tmp_path, saver, points):
    assert outcome(tmp_path / "run", points, SAVER) == saver
