"""Rows on disk: what a tensor would give, read from a file."""

import numpy as np
import pytest
import torch

from dal.acquisition.search.rows import (
    ArrayRows,
    Chosen,
    DiskRows,
    UnitRows,
    all_rows,
    check_rows,
    check_table,
    distinct,
    scaled,
)
from dal.errors import DalError, NonFiniteError


@pytest.fixture
def stored(tmp_path):
    values = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    np.save(tmp_path / "rows.npy", values)
    return DiskRows(tmp_path / "rows.npy"), torch.from_numpy(values)


@pytest.mark.parametrize(("start", "stop"), [(0, 50), (3, 4), (10, 10), (45, 99), (7, 31)])
def test_slices(stored, start, stop):
    rows, values = stored
    assert torch.equal(rows[start:stop], values[start:stop])


@pytest.mark.parametrize(
    "indices", [[0], [], [49, 0, 48, 1], [5, 5, 5], [10, 11, 12, 3, 4, 40], list(range(49, -1, -1))], ids=str
)
def test_indices_in_any_order(stored, indices):
    rows, values = stored
    assert torch.equal(rows[torch.tensor(indices, dtype=torch.int64)], values[indices])


@pytest.mark.parametrize(
    "rows",
    [
        torch.tensor([-1, 0, -50]),
        torch.arange(50) % 3 == 0,
        [1, 2],
        slice(None, None, 7),
        slice(40, 3, 1),
        torch.tensor([3, 9], dtype=torch.int32),
    ],
    ids=str,
)
def test_rows_are_meant_as_a_tensor_means_them(stored, rows):
    stored_rows, values = stored
    assert torch.equal(stored_rows[rows], values[rows])


@pytest.mark.parametrize("rows", [torch.tensor([50]), torch.tensor([-51]), [0, 99]], ids=str)
def test_positions_out_of_range_are_refused(stored, rows):
    with pytest.raises(IndexError, match="out of"):
        stored[0][rows]
    with pytest.raises(DalError, match=r"^rows: expected a slice, a mask or a list of positions, got 3\.$"):
        stored[0][3]


def test_is_described_as_a_tensor_is(stored):
    rows, values = stored
    assert (rows.shape, rows.ndim, rows.dtype, len(rows)) == (values.shape, 2, values.dtype, 50)
    assert rows.is_floating_point() and rows.device == values.device


def test_large_reads_are_made_in_pieces(stored, monkeypatch):
    from dal.acquisition.search import rows as module

    monkeypatch.setattr(module, "_MOST_BYTES_A_READ", 7)
    rows, values = stored
    assert torch.equal(rows[0:50], values)


@pytest.mark.parametrize(
    "array",
    [np.zeros(3), np.zeros((2, 2), dtype=int), np.zeros((1, 2, 3)), np.zeros((2, 2), dtype=np.longdouble)],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_other_arrays_are_refused(array, tmp_path):
    np.save(tmp_path / "rows.npy", array)
    expected = r"expected floating-point numbers of shape \(N, D\), got '\w+ of shape \([\d, ]+\)'\.$"
    with pytest.raises(DalError, match=f"^path: {expected}"):
        DiskRows(tmp_path / "rows.npy")
    with pytest.raises(DalError, match=f"^features: {expected}"):
        DiskRows(tmp_path / "rows.npy", "features")


@pytest.mark.parametrize("values", [np.asfortranarray, lambda x: x.astype(">f4"), lambda x: x.astype(">f2")])
@pytest.mark.parametrize(
    "rows", [slice(3, 9), slice(None, None, 7), torch.tensor([5, 0, 49]), torch.arange(50) < 3], ids=str
)
def test_other_orders_are_read_as_native_ones(values, rows, stored, tmp_path):
    array = values(stored[1].numpy())
    np.save(tmp_path / "other.npy", array)
    expected = torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
    assert DiskRows(tmp_path / "other.npy").dtype == expected.dtype
    assert torch.equal(DiskRows(tmp_path / "other.npy")[rows], expected[rows])


@pytest.mark.filterwarnings("error::UserWarning")
def test_arrays_that_no_tensor_can_share_are_copied(stored, tmp_path):
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    for array in (mapped, mapped[::-1][::-1], mapped.astype(np.longdouble), mapped.astype(">f8")):
        rows = ArrayRows(array)
        assert torch.equal(rows[torch.tensor([7, 2])], stored[1][[7, 2]].to(rows.dtype))
    assert rows.dtype == torch.float64
    rows[0:2].zero_()
    assert torch.equal(rows[0:2], stored[1][0:2].double())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.zeros(0, 3), r"floating-point numbers of shape \(N, D\), got 'float32 of shape \(0, 3\)'"),
        (torch.zeros(3, 0), r"floating-point numbers of shape \(N, D\), got 'float32 of shape \(3, 0\)'"),
        (torch.zeros(3, 2).long(), r"floating-point numbers of shape \(N, D\), got 'int64 of shape \(3, 2\)'"),
        (torch.zeros(3, 2), r"one row for each of the 4 points of the training set, got 3"),
        (torch.tensor([[0.0]] * 3 + [[torch.inf]]), r"finite numbers, got inf at row 3 of 4"),
    ],
    ids=str,
)
def test_a_table_that_does_not_fit_is_refused(rows, message):
    with pytest.raises(DalError, match=rf"^x: expected {message}\.$"):
        check_table("x", rows, 4)
    assert check_table("x", torch.full((4, 1), -2.0), 4) == 2


def test_what_is_no_file_of_numbers_is_refused(tmp_path):
    (tmp_path / "text.npy").write_text("hello")
    for name in ("missing.npy", "text.npy"):
        with pytest.raises(DalError, match=r"^path: expected a \.npy file of numbers, got"):
            DiskRows(tmp_path / name)


def test_a_file_that_was_cut_off_is_refused(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((10, 4)))
    rows = DiskRows(tmp_path / "rows.npy")
    with (tmp_path / "rows.npy").open("rb+") as file:
        file.truncate(200)
    with pytest.raises(DalError, match=r"path: expected 10 rows, as its header declares, got a shorter file"):
        rows[0:10]


def test_rows_that_are_not_finite_are_named_by_their_place_in_the_whole(monkeypatch):
    from dal.acquisition.search import rows as module

    monkeypatch.setattr(module, "_CHECKED_AT_ONCE", 6)
    values = torch.zeros(9, 2)
    values[7, 1] = torch.nan
    with pytest.raises(NonFiniteError, match=r"^x: expected finite numbers, got nan at row 7 of 9\.$"):
        check_rows("x", values)
    assert check_rows("x", values[:7] - 2) == 2
    assert check_rows("x", values[:0]) == 0


def test_chosen_rows_are_those_of_the_tensor():
    values = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    positions = torch.tensor([7, 0, 19, 7, 3])
    rows, expected = Chosen(values, positions), values.numpy()[positions.numpy()]
    assert rows.shape == (5, 3) and len(rows) == 5 and rows.dtype == torch.float64 and rows.is_floating_point()
    assert all_rows(rows).tolist() == expected.tolist()
    for some in (slice(1, 4), slice(4, 9), torch.tensor([3, 3, 0]), torch.tensor([], dtype=torch.int64)):
        assert rows[some].tolist() == expected[some if isinstance(some, slice) else some.numpy()].tolist()
    assert check_rows("rows", rows) == np.abs(expected).max()
    values[19, 1] = torch.nan
    with pytest.raises(NonFiniteError, match="rows: expected finite numbers, got nan at row 2 of 5"):
        check_rows("rows", rows)
    values[19, 1], values[5, 0] = 0, torch.inf
    check_rows("rows", rows)  # row 5 is not chosen


@pytest.mark.parametrize("layout", ["rows", "columns", "every other"])
def test_unit_rows_of_several_parts_are_those_of_all_rows(layout):
    generator = torch.Generator().manual_seed(1)
    parts = [torch.randn(count, 6, generator=generator) for count in (4, 0, 3, 1)]
    parts[0], parts[0][2], parts[2] = parts[0] * 1e-30, 0, parts[2].double() * 1e200
    parts.append(torch.randn(2, 6, generator=generator).half())
    everything = np.concatenate([part.double().numpy() for part in parts])
    if layout == "columns":
        parts = [part.T.contiguous().T for part in parts]
    elif layout == "every other":
        parts = [part.repeat_interleave(2, dim=1)[:, ::2] for part in parts]
    largest = np.abs(everything).max(axis=1, keepdims=True)
    scaled_rows = everything / np.where(largest > 0, largest, 1)
    expected = scaled_rows / np.maximum(np.sqrt((scaled_rows**2).sum(axis=1, keepdims=True)), 1e-300)
    rows = UnitRows(*parts)
    assert rows.shape == (10, 6) and rows.dtype == torch.float64
    assert np.allclose(all_rows(rows).numpy(), expected, rtol=0, atol=4e-16)
    for some in (slice(3, 6), slice(6, 40), torch.tensor([9, 2, 2, 7, 3]), torch.tensor([], dtype=torch.int64)):
        places = torch.arange(10)[some]
        # To the last digit, whatever the other rows of a read are.
        assert torch.equal(rows[some], all_rows(rows)[places])
    for part, start in zip(parts, (0, 4, 4, 7, 8), strict=True):
        # Neither the parts nor the memory layout matter.
        assert torch.equal(all_rows(UnitRows(part)), all_rows(rows)[start : start + len(part)])


def test_distinct_rows_are_the_first_of_their_kind():
    generator = torch.Generator().manual_seed(0)
    few = torch.randn(40, 5, generator=generator)
    rows = few[torch.randint(0, 40, (300,), generator=generator)]
    seen, expected = set(), []
    for row in rows.tolist():
        expected.append(tuple(row) not in seen)
        seen.add(tuple(row))
    assert distinct(rows).tolist() == expected


def test_rows_whose_projections_collide_stay_distinct(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda count, **kwargs: torch.zeros(count))
    assert distinct(torch.eye(4)).all()


@pytest.mark.parametrize("scale", [1.0, 2.0**-40, 2.0**140])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_scaling_is_exact(dtype, scale):
    x = torch.tensor([[1.5, -0.75]], dtype=dtype)
    assert torch.equal(scaled(x, scale).double(), x.double() * scale)
    assert scaled(x, scale).dtype == (torch.float64 if dtype == torch.float64 or scale > 2.0**100 else torch.float32)
