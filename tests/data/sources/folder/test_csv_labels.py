import csv
import io
import os
import warnings
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dal.data.sources.folder.csv_labels import csv_label_sets, csv_labels
from dal.errors import DalError, shortened

FILES = ["a/1.jpg", "a/2.jpg", "3.png"]


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_csv_with_extra_columns_empty_labels_and_quotes(tmp_path):
    text = 'split, label,id\nx,cat,a/1.jpg\ny,,./a/2.jpg\nz," big, dog ",3.png\n'
    assert csv_labels(write(tmp_path, text), FILES) == {"a/1.jpg": "cat", "3.png": "big, dog"}


def test_csv_as_a_spreadsheet_writes_it(tmp_path):
    for label in ("NA", "#N/A", "\\N"):
        text = f"id,label\r\na/1.jpg,{label}\r\na/2.jpg\r\n"
        with pytest.warns(
            UserWarning, match=r"^data\.csv: .* is read as a class in .* \(1 such labels\)\. If the label "
        ):
            assert csv_labels(write(tmp_path, text, "utf-8-sig"), FILES) == {"a/1.jpg": label}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "data.csv: expected the columns id and label in {path}, got []."),
        ("file,class\n3.png,cat\n", "data.csv: expected the columns id and label in {path}, got ['file', 'class']."),
        (
            "id,label\n3.png,cat\n4.png,cat\n",
            "data.csv: expected existing image files below the root as ids (line 3 of {path}), got '4.png'.",
        ),
        ("id,label\n3.png,cat\n./3.png,\n", "data.csv: expected each id once (line 3 of {path}), got '3.png'."),
        (
            "id,label\n,cat\n",
            "data.csv: expected existing image files below the root as ids (line 2 of {path}), got ''.",
        ),
        (
            "id,label\n3.png,dogs, cats\n",
            "data.csv: expected 2 cells (line 2 of {path}), got 3. Put quotes around a cell that contains a "
            "delimiter, and keep the delimiters of empty cells.",
        ),
        (
            "id,split,label\n\n3.png,cat\n",
            "data.csv: expected 3 cells (line 3 of {path}), got 2. Put quotes around a cell that contains a "
            "delimiter, and keep the delimiters of empty cells.",
        ),
        (
            'id,label\n3.png,"cat\na/1.jpg,dog\n',
            "data.csv: expected quotes only around cells, and doubled within them, got another quote (line 2 "
            "of {path}).",
        ),
        (
            'id,label\n3.png,"cat\na/1.jpg",dog\n',
            "data.csv: expected 2 cells (line 2 of {path}), got 3. Put quotes around a cell that contains a "
            "delimiter, and keep the delimiters of empty cells.",
        ),
        (
            'id,label\n3.png,"cat\ndog"\n',
            "data.csv: expected a label on one line without control characters (line 2 of {path}), got 'cat\\ndog'.",
        ),
        (
            "id,label\n3.png,gr\ufffdn\n",
            "data.csv: expected a label on one line without control characters (line 2 of {path}), got 'gr\ufffdn'.",
        ),
        (
            "id,label,label\n3.png,a,b\n",
            "data.csv: expected the columns id and label in {path}, got ['id', 'label', 'label'].",
        ),
        (
            "id,label\nA/1.JPG,cat\n",
            "data.csv: expected existing image files below the root as ids (line 2 of {path}), got 'A/1.JPG' (did you "
            "mean 'a/1.jpg'?).",
        ),
        (
            "id,label,x;id;label\n3.png,a,b\n",
            "data.csv: expected the columns id and label in {path}, got ['id', 'label', 'x;id;label'].",
        ),
        (
            "id,label\n3.png,c\0t\n",
            "data.csv: expected a readable CSV file in UTF-8 at {path}, got a NUL character (line 2).",
        ),
        (
            f"id,label\n3.png,{'cat' * 100}\n",
            "data.csv: expected a label of at most 255 characters (line 2 of {path}), got "
            + f"{shortened('cat' * 100)}.",
        ),
    ],
)
def test_csv_mistakes(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(DalError) as error:
        csv_labels(path, FILES)
    assert str(error.value) == message.format(path=path)


def test_csv_that_cannot_be_read(tmp_path):
    with pytest.raises(DalError, match=r"^data.csv: expected a readable CSV file .* got No such file or directory\.$"):
        csv_labels(tmp_path / "none.csv", FILES)
    for encoding, reason in {
        "latin-1": r"another encoding \(line 2\)\. Save it as UTF-8\.$",
        "utf-16": r"UTF-16\. Save it as UTF-8\.$",
        "utf-32": r"UTF-32\. Save it as UTF-8\.$",
        "utf-16-le": r"a NUL character \(line 1\)\.$|another encoding",
    }.items():
        path = write(tmp_path, "id,label\n3.png,größe\n", encoding)
        with pytest.raises(DalError, match=rf"^data.csv: expected a readable CSV file in UTF-8 .* got ({reason})"):
            csv_labels(path, FILES)
    for other in (tmp_path, "/dev/null", tmp_path / "a\0b"):
        with pytest.raises(DalError, match=r"^data.csv: expected a readable CSV file in UTF-8"):
            csv_labels(type(tmp_path)(other), FILES)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DalError, match=r"got a pipe, a device or a folder\.$"):
        csv_labels(tmp_path / "pipe.csv", FILES)


@pytest.mark.parametrize(("delimiter", "word"), [(";", "semicolons"), ("\t", "tabs")])
def test_semicolons_and_tabs_are_read_and_said_once(tmp_path, delimiter, word):
    path = write(tmp_path, f"id{delimiter}label\n3.png{delimiter}a, b\n")
    with pytest.warns(UserWarning, match=rf"^data.csv: .*labels\.csv is read with {word} as delimiters\.$") as caught:
        assert csv_labels(path, FILES) == {"3.png": "a, b"}
    assert len(caught) == 1


def test_blank_rows_and_empty_cells_at_the_end_do_not_count(tmp_path):
    text = "\r\n id , label,\r\n\r\n,,,\r\n3.png, cat,,\r\na/1.jpg\r\n \t\r\n"
    assert csv_labels(write(tmp_path, text), FILES) == {"3.png": "cat"}
    assert csv_labels(write(tmp_path, "id,label\r3.png,cat\r"), FILES) == {"3.png": "cat"}
    assert csv_labels(write(tmp_path, "id,label\n3.png,cat"), FILES) == {"3.png": "cat"}


def test_names_are_matched_in_their_composed_form(tmp_path):
    path = write(tmp_path, "id,label\ncafé.png,naïve\nö.png,nai\u0308ve\n")
    found = csv_labels(path, ["cafe\u0301.png", "ö.png"])
    assert set(found.values()) == {"naïve"} and len(found) == 2


def test_an_id_that_exists_but_is_left_out_is_told_why(tmp_path):
    path = write(tmp_path, "id,label\nx.heic,cat\n")
    with pytest.raises(DalError) as error:
        csv_labels(path, FILES, {"x.heic": ".heic (needs the package pi-heif)"}.get)
    assert str(error.value) == (
        f"data.csv: expected images as ids (line 2 of {path}), got 'x.heic', which is skipped: .heic (needs the "
        "package pi-heif)."
    )


@pytest.mark.parametrize(
    ("cell", "classes"),
    [("car;person", ("car", "person")), ("car;", ("car",)), (";", ()), ("car ; person;", ("car", "person"))],
)
def test_sets_of_classes(tmp_path, cell, classes):
    assert csv_label_sets(write(tmp_path, f"id,labels\n3.png,{cell}\n"), FILES) == {"3.png": classes}


@pytest.mark.parametrize("cell", [";car", "car;;person", ";;", "car;car"])
def test_malformed_sets_of_classes(tmp_path, cell):
    with pytest.raises(DalError, match=r"^data.csv: expected .* in the labels of 3\.png|as the labels of 3\.png"):
        csv_label_sets(write(tmp_path, f"id,labels\n3.png,{cell}\n"), FILES)


class Malformed(Exception):
    pass


def reference_rows(text, delimiter):
    """A slow reader of RFC 4180, one character at a time."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    row, i = [], 0
    while i <= len(text):
        while text[i : i + 1] == " " or (text[i : i + 1] == "\t" and delimiter != "\t"):
            i += 1
        cell = ""
        if text[i : i + 1] == '"':
            i += 1
            while text[i : i + 1] != '"' or text[i + 1 : i + 2] == '"':
                if i >= len(text):
                    raise Malformed
                i += 2 if text[i] == '"' else 1
                cell += text[i - 1]
            i += 1
            while text[i : i + 1] == " " or (text[i : i + 1] == "\t" and delimiter != "\t"):
                i += 1
            if text[i : i + 1] not in ("", "\n", delimiter):
                raise Malformed
        else:
            while text[i : i + 1] not in ("", "\n", delimiter):
                if text[i] == '"':
                    raise Malformed
                cell += text[i]
                i += 1
        row.append(cell.strip())
        if text[i : i + 1] != delimiter:
            if any(row):
                yield row
            row = []
        i += 1


def reference_labels(text, files):
    """The labels, or Malformed, by the rules of the documentation."""
    if "\0" in text:
        raise Malformed
    fitting = []
    for delimiter in ",;\t":
        try:
            header = list(islice(reference_rows(text, delimiter), 1))
        except Malformed:
            continue
        if header and header[0].count("id") == 1 and header[0].count("label") + header[0].count("labels") == 1:
            fitting.append(delimiter)
    if len(fitting) != 1:
        raise Malformed
    header, *rows = reference_rows(text, fitting[0])
    if "label" not in header:
        raise Malformed
    labels = {}
    for row in rows:
        only_id = [i for i, cell in enumerate(row) if cell] == [header.index("id")]
        if any(row[len(header) :]) or (len(row) < len(header) and not only_id):
            raise Malformed
        row = row + [""] * len(header)
        image, label = row[header.index("id")], row[header.index("label")]
        if image not in files or image in labels or "\n" in label or "\t" in label:
            raise Malformed
        labels[image] = label
    return {image: label for image, label in labels.items() if label}


CELLS = st.sampled_from(
    [
        "3.png",
        "a/1.jpg",
        "a/2.jpg",
        "id",
        "label",
        "cat",
        "dog",
        "big, dog",
        "a;b",
        'say "hi"',
        "",
        " ",
        "4.png",
        "x\ny",
    ]
)
DIRT = st.sampled_from(["", "", "", '"', ",", ";", "\t", "\n", "\r\n", " ", "\0", ',"', '"\n', "\n\n", "z"])


@st.composite
def csv_files(draw):
    """The text of a CSV file, well-formed or with a piece of dirt somewhere."""
    delimiter = draw(st.sampled_from([",", ",", ";", "\t"]))
    header = draw(st.permutations(["id", "label", *draw(st.lists(st.sampled_from(["x", "", "note"]), max_size=2))]))
    ids = draw(st.lists(st.sampled_from(FILES), max_size=3, unique=draw(st.booleans())))
    rows = [[image if name == "id" else draw(CELLS) for name in header] for image in ids]
    if draw(st.integers(0, 3)) == 0:
        rows.append(draw(st.lists(CELLS, max_size=4)))
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    writer.writerows([header, *rows])
    text = out.getvalue()
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(DIRT) + text[at:]


@settings(max_examples=500, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(csv_files())
def test_500_files_are_read_as_an_independent_reader_does_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "property.csv"
    path.write_bytes(text.encode())
    try:
        expected = reference_labels(text, FILES)
    except Malformed:
        expected = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = csv_labels(path, FILES)
        except DalError as error:
            assert "\n" not in str(error) and str(error).startswith("data.csv: expected ")
            found = None
    assert found == expected


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_bytes_of_any_kind_end_in_labels_or_in_one_sentence(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "bytes.csv"
    path.write_bytes(b"id,label\n" + data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert set(csv_labels(path, FILES)) <= set(FILES)
        except DalError as error:
            assert len(str(error).splitlines()) == 1


def test_semicolons_in_the_column_label_are_a_hint_at_the_column_labels(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("id,label\na.jpg,car;person\nb.jpg,car;bike\nc.jpg,car\nd.jpg,\n")
    with pytest.warns(UserWarning, match=r"^csv: each label of .* is one class, such as 'car;person'\. If .*\.$"):
        assert csv_labels(path, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])["a.jpg"] == "car;person"
    path.write_text("id,label\na.jpg,car;person\nb.jpg,car\nc.jpg,bike\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(csv_labels(path, ["a.jpg", "b.jpg", "c.jpg"])) == 3


def test_a_very_long_id_makes_a_short_error(tmp_path):
    path = write(tmp_path, f"id,label\n{'x' * 100_000},cat\n")
    with pytest.raises(DalError, match="got 'xxx") as error:
        csv_labels(path, FILES)
    assert len(str(error.value)) < 400 + len(str(path))
