"""A file of answers is read as it is meant, or refused with the line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dal.errors import DalError
from dal.labeling.people.formats.incoming import Told, read_told


def read(tmp_path, text, format="auto", name="answers.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_told(path, format)


def test_a_csv_file_has_ids_labels_people_and_seconds(tmp_path):
    found = read(tmp_path, "id,label,annotator,seconds\na.jpg,cat,ana,1.5\nb.jpg,=unsure,,\nc.jpg,,ana,\n")
    assert found.told == [
        Told(2, "a.jpg", "label", "cat", annotator="ana", seconds=1.5),
        Told(3, "b.jpg", "unsure", None),
    ]
    assert found.unanswered == 1


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_that_of_the_header(tmp_path, delimiter):
    text = f"id{delimiter}label\nx, y.jpg{delimiter}cat\n" if delimiter != "," else 'id,label\n"x, y.jpg",cat\n'
    assert [(one.id, one.label) for one in read(tmp_path, text).told] == [("x, y.jpg", "cat")]


def test_the_four_answers_that_are_no_class_are_four_kinds(tmp_path):
    text = "id,label\n" + "".join(
        f"{i}.jpg,={kind}\n" for i, kind in enumerate(("none", "unsure", "skip", "unreadable"))
    )
    assert [one.kind for one in read(tmp_path, text).told] == ["none", "unsure", "skip", "unreadable"]


def test_the_columns_that_ask_writes_are_no_answers(tmp_path):
    text = "rank,index,id,score,kind,suggestion,label\n0,7,a.jpg,0.5,query,dog,cat\n1,8,b.jpg,0.4,query,cat,\n"
    found = read(tmp_path, text)
    assert found.told == [Told(2, "a.jpg", "label", "cat", index=7)] and found.unanswered == 1


def test_jsonl_is_recognized(tmp_path):
    lines = [
        {"id": "a.jpg", "label": "cat", "seconds": 2},
        {"id": "b.jpg", "label": None},
        {"id": "c", "label": "=skip"},
    ]
    found = read(tmp_path, "\n".join(map(json.dumps, lines)))
    assert [(one.line, one.id, one.kind, one.seconds) for one in found.told] == [
        (1, "a.jpg", "label", 2.0),
        (3, "c", "skip", None),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "id,label\na.jpg,=perhaps\n",
            r"^label: expected a class, or one of =none, =unsure.* \(line 2\), got '=perhaps'",
        ),
        ("id,label\n,cat\n", r"^id: expected the id of an image \(line 2\), got ''"),
        ("id,lable\na.jpg,cat\n", r"^answers: expected the columns id and label"),
        ("id,label,labell\na.jpg,cat,dog\n", r"^answers: expected only the columns .*, got 'labell'"),
        ("id,label,label\na.jpg,cat,dog\n", r"^answers: expected each column once"),
        ("id,label\na.jpg,dogs, cats\n", r"^answers: expected 2 cells \(line 2"),
        ("id,label\na.jpg\n", r"^answers: expected 2 cells \(line 2"),
        ("id,label,seconds\na.jpg,cat,-1\n", r"^seconds: expected a number from 0 to 86,400 \(line 2\), got '-1'"),
        *(
            (f"id,label,seconds\na.jpg,cat,1\nb.jpg,cat,{value}\n", r"^seconds: expected .* \(line 3\)")
            for value in ("1e300", "86400.5", "inf", "1_0", "１", "0x1", "9" * 400)
        ),
        *(
            (f'{{"id": "a", "label": "cat", "seconds": {value}}}\n', r"^seconds: expected .* \(line 1\)")
            for value in ("1e300", "NaN", "Infinity", "true", "[1]", "9" * 400)
        ),
        *(
            (f'{{"id": "a", "label": "cat", "index": {value}}}\n', r"^index: expected .* \(line 1\)")
            for value in ("true", "1.0", "-1", "1e3", '"1.5"')
        ),
        ('{"id": "a", "label": "cat", "annotator": 0}\n', r"^annotator: expected .* \(line 1\), got 0"),
        ("id,label,annotator\na.jpg,cat,dal\n", r"^annotator: expected .*, and not dal \(line 2\), got 'dal'"),
        ('{"id": "a", "label": "cat"}\n{"id": "b"}\n', r"^answers: expected the keys id and label .* \(line 2 of"),
        ('{"id": "a", "lable": "cat"}\n', r"^answers: expected only the columns .* \(line 1 of .*, got 'lable'"),
        ('{"id": "a", "label": "cat", "label": "dog"}\n', r"^answers: expected each column once \(line 1 of"),
        ("id,label,seconds\na.jpg,cat,nan\n", r"^seconds: expected a number from 0"),
        ("id,label,annotator\na.jpg,cat,an na\n", r"^annotator: expected 1 to 64 letters"),
        ("id,label,index\na.jpg,cat,-3\n", r"^index: expected a whole number from 0"),
        ('id,label\na.jpg,"cat\n', r"^answers: expected quotes only around cells"),
        ('{"id": "a", "label": 3}\n', r"^label: expected a class as text \(line 1\), got 3"),
        ('{"id": "a", "label": "cat"}\n[1]\n', r"^answers: expected one JSON object a line"),
        ('{"id": "a", "label": "cat"}\n{"id": \n', r"^answers: expected one JSON object a line"),
        (b"id,label\n\xff\xfe,cat\n", r"^answers: expected a readable CSV file in UTF-8"),
        ("", r"^answers: expected the columns id and label"),
    ],
)
def test_a_malformed_file_is_refused_with_the_line(tmp_path, text, sentence):
    with pytest.raises(DalError, match=sentence):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DalError, match=r"^answers: expected a readable CSV file .* got No such file"):
        read_told(tmp_path / "nope.csv")


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("told") / "answers"
    path.write_text("id,label\n" + text, encoding="utf-8", errors="surrogatepass", newline="")
    try:
        found = read_told(path)
    except DalError as error:
        assert str(error).count("\n") == 0
    else:
        assert all(one.id and (one.label or one.kind != "label") for one in found.told)
