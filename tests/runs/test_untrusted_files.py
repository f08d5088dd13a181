"""Files of diagnosis and of trainings in a folder from elsewhere: each damage is one sentence, and none runs code."""

import io
import json
import os

import numpy as np
import pytest

from dal.errors import DalError
from dal.runs.dynamics import packed, read_arrays
from dal.runs.environment import recorded_environments
from dal.runs.order_file import Schedule, order_file, read_orders, write_orders

NAME, STATE = "dynamics_000.npz", {"digests": {}}


def pickled():
    class Evil:
        def __reduce__(self):
            return os.mkdir, ("ran",)

    file = io.BytesIO()
    np.savez(file, a=np.array([Evil()], dtype=object))
    return file.getvalue()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", pickled(), packed({"a": np.arange(9)})[:-30]])
def test_a_file_that_is_no_archive_of_arrays_is_one_sentence(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).write_bytes(data)
    with pytest.raises(DalError, match=r"^run: dynamics_000.npz in .* is damaged \("):
        read_arrays(tmp_path, NAME, STATE)
    assert not (tmp_path / "ran").exists()


def test_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("dal.runs.dynamics._MOST_BYTES", 2**20)
    (tmp_path / NAME).write_bytes(packed({"a": np.zeros(2**20 + 1, np.uint8)}))
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(DalError, match=r"is damaged \(ValueError\)"):
        read_arrays(tmp_path, NAME, STATE)


def test_starts_in_a_damaged_file_do_not_count_and_a_pipe_is_one_sentence(tmp_path):
    assert recorded_environments(tmp_path) == []
    file = tmp_path / "environment.jsonl"
    file.write_bytes(b'{"torch": "2.14"}\n' + b"[" * 100_000 + b"\n\xff\n[1]\n")
    assert recorded_environments(tmp_path) == [{"torch": "2.14"}]
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(DalError, match="not a regular file"):
        recorded_environments(tmp_path)


def test_orders_come_back_and_a_damaged_file_is_one_sentence(tmp_path):
    schedule, done = Schedule(4, [2, 2], [5, 5]), {("random", 0): [0.5, 0.25], ("at_once", 0): [0.75]}
    assert read_orders(tmp_path) is None
    write_orders(tmp_path, schedule, done)
    assert read_orders(tmp_path) == (schedule, done)
    file = order_file(tmp_path)
    whole = file.read_text()
    header = json.dumps([4, [2, 2], [1e400, 5]]).replace("Infinity", "1e400")
    for text in ("", "# " + "[" * 100_000, f"# {header}\n{whole}", whole.replace("0.25", "nan"), whole + "\0,\n"):
        file.write_text(text)
        with pytest.raises(DalError, match=r"^order: .*order.csv' is damaged. Delete it to start again.$"):
            read_orders(tmp_path)


def test_a_folder_of_orders_that_leads_out_of_the_run_is_refused(tmp_path):
    outside, run = tmp_path / "outside", tmp_path / "run"
    outside.mkdir()
    run.mkdir()
    (run / "order").symlink_to(outside)
    for call in (lambda: write_orders(run, Schedule(1, [1], [1]), {}), lambda: read_orders(run)):
        with pytest.raises(DalError, match="got 'order', which leads out of it"):
            call()
    assert not list(outside.iterdir())
