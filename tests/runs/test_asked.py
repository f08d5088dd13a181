"""asked.csv keeps every line as it was written."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dal.errors import DalError
from dal.runs.asked import AskedLine, asked_lines, read_asked
from dal.runs.files.committed import is_ours
from dal.runs.files.state import write_state
from dal.runs.layout import ANSWERS, ANSWERS_LOCK, ASKED, LABEL_START, LEASES, TRAINER, TRAINER_LOG

IDS = st.text(st.sampled_from('ab",\n\ré\ud800 ;'), min_size=1, max_size=6)
LINES = st.lists(
    st.builds(
        AskedLine, st.just(0), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), IDS,
        st.none() | st.floats(allow_nan=False), st.sampled_from(["test", "validation", "initial", "query"]),
        st.none() | IDS, st.none() | st.sampled_from([0.0, 0.1234, 1.0]),
    ),
    max_size=6,
)  # fmt: skip


def numbered(lines):
    return [AskedLine(ask, *[getattr(line, n) for n in line.__slots__[1:]]) for ask, line in enumerate(lines)]


@settings(max_examples=60, deadline=None)
@given(LINES, st.data())
def test_whole_lines_are_read_back(tmp_path_factory, lines, data):
    folder, lines = tmp_path_factory.mktemp("run"), numbered(lines)
    text = "".join(asked_lines([line], header=line.ask == 0) for line in lines).encode(errors="surrogatepass")
    (folder / ASKED).write_bytes(text)
    assert read_asked(folder, committed=False) == lines
    cut = data.draw(st.integers(0, len(text)))
    (folder / ASKED).write_bytes(text[:cut])
    found = read_asked(folder, committed=False)
    assert found == lines[: len(found)]
    whole = [len(asked_lines(lines[:k], header=True).encode(errors="surrogatepass")) for k in range(1, len(lines) + 1)]
    assert len(found) == sum(size <= cut for size in whole)


def test_only_committed_lines_count(tmp_path):
    lines = [AskedLine(k, 0, k, k, f"{k}.jpg", 0.5, "query", "cat", 0.75) for k in range(3)]
    assert read_asked(tmp_path) == read_asked(tmp_path, committed=False) == []
    text = asked_lines(lines, header=True)
    (tmp_path / ASKED).write_text(text)
    assert read_asked(tmp_path) == []
    part = asked_lines(lines[:2], header=True)
    state = {"stage": "select", "rounds": 0, "bytes": {ASKED: len(part)}, "data": "a"}
    write_state(tmp_path, state | {"digests": {ASKED: hashlib.sha256(part.encode()).hexdigest()}})
    assert read_asked(tmp_path) == lines[:2] and read_asked(tmp_path, committed=False) == lines
    (tmp_path / ASKED).write_text(text.replace("0.75", "0.85"))
    with pytest.raises(DalError, match=r"^run: asked.csv in .* is damaged \(its digest differs"):
        read_asked(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [("ask,", "aks,"), ("\n0,", "\n1,"), (",0.5,", ",half,"), (",query,", ",gold,"), (",0.75", ",1.75"), (",0.75", "")],
)
def test_damage_is_one_sentence(tmp_path, old, new):
    text = asked_lines([AskedLine(0, 0, 0, 0, "0.jpg", 0.5, "query", "cat", 0.75)], header=True)
    assert old in text
    (tmp_path / ASKED).write_text(text.replace(old, new))
    with pytest.raises(DalError, match=r"^run: asked.csv in .* is damaged\. Restore it, or choose another folder\.$"):
        read_asked(tmp_path, committed=False)


def test_the_files_of_people_are_ours():
    names = (ANSWERS, ANSWERS_LOCK, ASKED, LEASES, LABEL_START, TRAINER, TRAINER_LOG, f".{TRAINER}.new")
    assert all(map(is_ours, names))
