import gzip
import struct

import pytest

from dal.data.sets.idx import read_idx
from dal.errors import DalError

GOOD = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 2, 3) + bytes(range(12))


def test_reads_values_in_order_packed_or_not(tmp_path):
    (tmp_path / "a").write_bytes(GOOD)
    (tmp_path / "b.gz").write_bytes(gzip.compress(GOOD))
    for name in ("a", "b.gz"):
        assert read_idx(tmp_path / name, ndim=3).tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an IDX file that begins with the bytes 00000803, got ''."),
        (b"<html>404</html>", "expected an IDX file that begins with the bytes 00000803, got '3c68746d'."),
        (bytes([0, 0, 8, 1]) + GOOD[4:], "begins with the bytes 00000803, got '00000801'."),
        (bytes([0, 0, 13, 3]) + GOOD[4:], "begins with the bytes 00000803, got '00000d03'."),
        (GOOD[:9], "expected a header of 16 bytes, got 9 bytes."),
        (GOOD[:-1], "expected 12 values for the shape (2, 2, 3), got 11."),
        (GOOD + b"x", "expected 12 values for the shape (2, 2, 3), got 13."),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 0, 2, 3), "expected at least one value, got the shape (0, 2, 3)."),
    ],
)
def test_damage_is_named(tmp_path, content, message):
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(DalError) as error:
        read_idx(path, ndim=3)
    assert str(error.value).startswith(f"{path}: expected ")
    assert str(error.value).endswith(message)


# Without names these would be named after their bytes, with the time in them, and so other ones in each process.
@pytest.mark.parametrize(
    "content",
    [gzip.compress(GOOD, mtime=0)[:-9], b"not gzip", gzip.compress(GOOD, mtime=0)[:12] + b"\xff" * 30],
    ids=["cut off", "not gzip", "overwritten"],
)
def test_a_damaged_archive_is_named(tmp_path, content):
    path = tmp_path / "broken.gz"
    path.write_bytes(content)
    with pytest.raises(DalError, match=r"broken.gz: expected a file that can be read, got "):
        read_idx(path, ndim=3)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        DalError, match=r"a file that can be read, got FileNotFoundError \(No such file or directory\)\.$"
    ):
        read_idx(tmp_path / "none", ndim=1)
