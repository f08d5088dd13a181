import pytest
import torch

from dal.errors import NonFiniteError
from dal.scoring import row_buffer
from dal.scoring.row_buffer import RowBuffer
from dal.scoring.row_store import RowStore


@pytest.mark.parametrize("pending_bytes", [1, 100, 2**20])
def test_rows_come_back_in_order_with_their_types(monkeypatch, pending_bytes):
    monkeypatch.setattr(row_buffer, "_PENDING_BYTES", pending_bytes)
    wide, long = torch.randn(50, 3), torch.arange(50)
    rows = RowBuffer(RowStore(50))
    for part in torch.arange(50).split(7):
        rows.append({"wide": wide[part], "long": long[part]})
    found = rows.finish()
    assert torch.equal(found["wide"], wide) and torch.equal(found["long"], long)


def test_no_rows_and_rows_without_columns():
    assert RowBuffer(RowStore(0)).finish() == {}
    rows = RowBuffer(RowStore(4))
    rows.append({"points": torch.empty(4, 0)})
    assert rows.finish()["points"].shape == (4, 0)


@pytest.mark.parametrize("pending_bytes", [1, 40, 2**20])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_named_by_its_place_in_the_pass(monkeypatch, pending_bytes, value):
    monkeypatch.setattr(row_buffer, "_PENDING_BYTES", pending_bytes)
    values = torch.zeros(20, 2)
    values[13, 1] = values[17, 0] = value
    rows = RowBuffer(RowStore(20))
    with pytest.raises(NonFiniteError) as error:
        for part in values.split(3):
            rows.append({"sum": part.sum(dim=1), "part": part})
        rows.finish()
    assert error.value.row == 13


def test_what_was_appended_does_not_change_afterwards_with_the_pool(monkeypatch):
    """A summary is memory of its own once it is finished with more than one tile."""
    buffer, rows = torch.zeros(4), RowBuffer(RowStore(4))
    rows.append({"rows": buffer[:2]})
    rows.append({"rows": buffer[2:]})
    found = rows.finish()["rows"]
    buffer.fill_(1)
    assert found.tolist() == [0, 0, 0, 0]
