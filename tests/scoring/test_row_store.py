"""Rows of a pass: kept in memory or on disk, the same rows either way, and nothing left behind."""

import pytest
import torch

from dal.acquisition import DiskRows
from dal.errors import DalError
from dal.scoring.row_store import RowStore


def pieces(dtype=torch.float32, count=23):
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(count, 6, generator=generator).to(dtype)
    return [
        {"wide": wide[i : i + 5], "number": wide[i : i + 5, 0], "column": wide[i : i + 5, :1]}
        for i in range(0, count, 5)
    ], wide


def filled(store, parts):
    for part in parts:
        store.append(part)
    return store.finish()


@pytest.mark.parametrize("budget", [None, 10**6, 100])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rows_come_back_in_order(budget, dtype, tmp_path):
    parts, wide = pieces(dtype)
    found = filled(RowStore(23, budget, folder=str(tmp_path)), parts)
    assert isinstance(found["wide"], DiskRows) == (budget == 100)
    rows = found["wide"][0:23]
    assert rows.dtype == (torch.float32 if budget == 100 and dtype == torch.bfloat16 else dtype)
    assert torch.equal(rows.double(), wide.double())
    # One number a point is never worth a file.
    assert torch.equal(found["number"], wide[:, 0]) and torch.equal(found["column"], wide[:, :1])
    assert list(tmp_path.iterdir()) == []


def test_only_half_of_the_budget_is_for_rows(tmp_path):
    parts, _ = pieces()
    needed = 23 * 8 * 4
    for budget, on_disk in ((2 * needed, False), (2 * needed - 1, True)):
        found = filled(RowStore(23, budget, folder=str(tmp_path)), parts)
        assert isinstance(found["wide"], DiskRows) == on_disk


def test_whole_numbers_stay_in_memory(tmp_path):
    rows = torch.arange(20).view(10, 2)
    found = filled(RowStore(10, 1, folder=str(tmp_path)), [{"rows": rows}])
    assert torch.equal(found["rows"], rows)


def test_no_row_is_held_twice(monkeypatch):
    made, empty = [], torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, **k: made.append(size) or empty(*size, **k))
    parts, _ = pieces()
    filled(RowStore(23), parts)
    assert made == [(23, 6), (23,), (23, 1)]


def test_a_folder_that_takes_no_files_is_said_in_a_sentence(tmp_path):
    parts, _ = pieces()
    with pytest.raises(DalError, match=r"^scoring.disk_folder: expected a writable folder with free space, got "):
        filled(RowStore(23, 100, folder=str(tmp_path / "gone")), parts)


def test_a_pass_without_rows():
    assert RowStore(0).finish() == {}


def test_rows_go_to_main_memory_where_others_have_filled_the_gpu(monkeypatch):
    empty = torch.empty

    def refuse(*size, **options):
        if options.pop("device", None) == torch.device("meta"):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return empty(*size, **options)

    # Memory of another device, which a CPU can stand in for.
    monkeypatch.setattr("dal.scoring.row_store._memory_of", lambda device: 2**30)
    monkeypatch.setattr(torch, "empty", refuse)
    parts, wide = pieces()
    found = filled(RowStore(23, device=torch.device("meta")), parts)
    assert torch.equal(found["wide"], wide)
