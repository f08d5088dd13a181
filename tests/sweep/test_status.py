"""How far cells are is read from their folders, and how long the rest takes is arithmetic on that."""

import json

import pytest

from dal.runs.saved_config import dump_config
from dal.sweep.grid import expand
from dal.sweep.status import RunStatus, run_status, seconds_left
from dal.sweep.table import grid_table

ROWS = [
    {"round": 0, "labels_bought": 20, "updates": 1, "test_accuracy": 0.5, "seconds_train": 2.0, "seconds_test": 0.5},
    {"round": 1, "labels_bought": 40, "updates": 1, "test_accuracy": 0.75, "seconds_train": 3.0, "seconds_score": 1.5},
]


@pytest.fixture
def cells(tmp_path):
    target = f"run_dir={tmp_path}/${{acquisition.name}}/${{seed}}"
    return expand(["acquisition=random,margin", "seed=range(3)", "campaign.budget=100", target])


def write(cell, rows, stage="select", config=None, **changes):
    cell.run_dir.mkdir(parents=True)
    rows = [row | {"campaign_stopped": "budget" if stage == "done" else None} for row in rows]
    journal = "".join(json.dumps(row) + "\n" for row in rows)
    (cell.run_dir / "rounds.jsonl").write_text(journal + '{"half a li')
    (cell.run_dir / "config.yaml").write_text(dump_config(config or cell.config))
    state = {"stage": stage, "rounds": len(rows), "bytes": {"rounds.jsonl": len(journal)}, "data": "x"}
    (cell.run_dir / "state.json").write_text(json.dumps(state | changes))


def test_stages(cells):
    assert run_status(cells[0]) == RunStatus("new")
    write(cells[0], ROWS, "done")
    assert run_status(cells[0]) == RunStatus("done", 40, 0.75, 7.0)
    write(cells[1], ROWS[:1])
    assert run_status(cells[1]) == RunStatus("begun", 20, 0.5, 2.5)
    write(cells[2], [])
    assert run_status(cells[2]) == RunStatus("begun")
    write(cells[3], ROWS, "done", config=cells[3].config | {"model": cells[3].config["model"] | {"lr": 0.5}})
    found = run_status(cells[3])
    assert found.stage == "refused" and found.reason.startswith("model.lr: expected 0.5, as at the start of the run in")
    write(cells[4], ROWS, bytes={"rounds.jsonl": 10_000})
    assert run_status(cells[4]).stage == "refused" and "expected 10000 bytes" in run_status(cells[4]).reason
    cells[5].run_dir.mkdir(parents=True)
    (cells[5].run_dir / "state.json").write_text("{")
    assert run_status(cells[5]).stage == "refused" and "state.json in" in run_status(cells[5]).reason


def test_time_left(cells):
    found = {cell.run_dir: RunStatus() for cell in cells}
    assert seconds_left(cells, found, cells, 1) is None
    # One at half of its budget after 10 s: 20 s each, 10 of them spent.
    found[cells[0].run_dir] = RunStatus("begun", 50, 0.5, 10.0)
    assert seconds_left(cells, found, cells, 1) == pytest.approx(6 * 20 - 10)
    # A finished one tells better, for its own row and, until there is one, for others.
    found[cells[0].run_dir] = RunStatus("done", 100, 0.5, 30.0)
    assert seconds_left(cells, found, cells[1:], 1) == pytest.approx(5 * 30)
    found[cells[3].run_dir] = RunStatus("done", 100, 0.5, 60.0)
    left = [cells[i] for i in (1, 2, 4, 5)]
    assert seconds_left(cells, found, left, 2) == pytest.approx((2 * 30 + 2 * 60) / 2)
    # Not less than the longest of them; wall times in place of the journal's.
    assert seconds_left(cells, found, left, 8) == pytest.approx(60)
    assert seconds_left(cells, found, left, 8, {cells[3].run_dir: 90.0}) == pytest.approx(90)
    assert seconds_left(cells, found, [], 1) == 0


def test_a_cell_is_followed_by_its_primary_metric(cells):
    write(cells[0], [row | {"test_mean_average_precision": 0.25} for row in ROWS], "done")
    (cells[0].run_dir / "data.json").write_text('{"primary_metric": "mean_average_precision"}')
    found = run_status(cells[0])
    assert (found.metric, found.accuracy) == ("mean_average_precision", 0.25)
    header = [column.header for column in grid_table([cells[0]], {cells[0].run_dir: found}).columns]
    assert "mean average precision\n%" in header
