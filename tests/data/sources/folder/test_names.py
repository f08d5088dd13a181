import pytest

from dal.data.sources.folder.names import check_class_names, check_distinct, composed
from dal.errors import DalError


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("dog", "dog\u200b"),
        ("dog", "d\u00adog"),
        ("dog", "dog "),
        ("big dog", "big\u00a0dog"),
        ("dog", "\u202edog"),
        ("dog", "dog\ufe0f"),
        ("dog", "dog\u034f"),
    ],
)
def test_names_that_differ_in_invisible_characters_are_refused_with_escapes(first, second):
    for listed in ((), (first, second)):
        with pytest.raises(DalError) as error:
            check_distinct("csv", [first, second, "cat"], listed)
        assert str(error.value).startswith("csv: expected class names that look different, got ")
        assert str(error.value).isascii() and ascii(second) in str(error.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [("dog", "Dog"), ("dog", "ｄｏｇ"), ("cat", "cаt"), ("file", "ﬁle"), ("A", "a"), ("10", "１０")],
)
def test_names_that_differ_in_case_or_look_alike_letters_pass_only_if_listed(first, second):
    with pytest.raises(DalError, match=r"^root: expected class names that differ in more than case .*data\.classes"):
        check_distinct("root", [first, second])
    check_distinct("root", [first, second], listed=[second, first])


@pytest.mark.parametrize("name", ["", " ", "\u200b", "\u3164\u00a0", "\u2800"])
def test_a_name_that_shows_nothing_is_refused(name):
    with pytest.raises(DalError, match=r"^root: expected class names that are not empty, got "):
        check_distinct("root", ["cat", name])


def test_names_that_look_different_pass():
    check_distinct(
        "root", ["cat", "dog", "café", "cafe", "Maße", "Masse", "кот", "собака", "猫", "می\u200cخواهم", "a b"]
    )


def test_listed_names_are_composed_texts():
    assert check_class_names(["cafe\u0301", " dog "]) == ["café", "dog"]
    assert composed("cafe\u0301") == "café"
    for wrong in (1000.0, True, None, "", " "):
        with pytest.raises(DalError, match=r"^classes: expected class names as text, got "):
            check_class_names(["cat", wrong])
