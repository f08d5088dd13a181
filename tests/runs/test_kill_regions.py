"""A campaign that buys regions with clicks, killed with SIGKILL and resumed, ends as one that nobody touched."""

import json

import torch
from helpers import killed_run, processes

SETTINGS = [
    "experiment=scenes",
    "data.items=digits",
    "data.train_size=12",
    "data.test_size=4",
    "campaign.cost=clicks",
    "campaign.initial_size=10",
    "campaign.query_size=15",
    "campaign.budget=70",
    "campaign.validation_size=6",
    "campaign.stop_set_size=6",
    "training.min_updates=4",
    "training.max_updates=4",
    "training.check_every=2",
    "acquisition=stratified",
    "acquisition.max_per_image=2",
    "acquisition.per_cost=true",
]
TIMES = ("seconds_", "joules_", "peak_memory_bytes")


def outcome(folder, points=()):
    """Run to the end, through a death at each point, and return what must not depend on it."""
    done = processes.run([killed_run.__file__, folder, ",".join(points), *SETTINGS])
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    counted = [{k: v for k, v in row.items() if not k.startswith(TIMES)} for row in rows]
    (weights,) = folder.glob("*.pt")
    bought = [(folder / name).read_text() for name in ("selections.csv", "validation.csv")]
    return bought, counted, torch.load(weights, weights_only=True)


def test_selections_weights_rounds_and_costs_are_those_of_a_run_that_nobody_touched(tmp_path):
    bought, rows, weights = outcome(tmp_path / "undisturbed")
    assert len(rows) >= 3 and "#r" in bought[0] and rows[-1]["cost_clicks"] <= 70
    points = ["answer:2", "train:3", "test:1", "score:1", "commit:2"]
    again = outcome(tmp_path / "killed", points)
    assert again[:2] == (bought, rows)
    assert weights.keys() == again[2].keys()
    assert all(torch.equal(torch.as_tensor(weights[name]), torch.as_tensor(again[2][name])) for name in weights)
