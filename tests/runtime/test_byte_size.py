import pytest

from dal.errors import DalError
from dal.runtime.byte_size import parse_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("1000000", 10**6),
        (4096, 4096),
        ("12b", 12),
        ("1kB", 1000),
        ("1KiB", 1024),
        ("512MiB", 512 * 2**20),
        ("2GB", 2 * 10**9),
        (" 1.5 gib ", 3 * 2**29),
        ("1TB", 10**12),
        ("1tib", 2**40),
    ],
)
def test_sizes(text, size):
    assert parse_bytes("memory_budget", text) == size


@pytest.mark.parametrize(
    "text", ["", "lots", "GiB", "-1GiB", "0", "0.5", "1e9", "2 GiB left", "1PiB", True, 1.5j, "1k"]
)
def test_nonsense(text):
    with pytest.raises(DalError) as error:
        parse_bytes("scoring.memory_budget", text)
    expected = f"scoring.memory_budget: expected a size such as 512MiB, 2GB or a number of bytes, got {text!r}."
    assert str(error.value) == expected
