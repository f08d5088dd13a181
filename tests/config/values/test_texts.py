from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from dal.config.overrides import compose
from dal.config.schema import build
from dal.config.values.home import expand_home
from dal.config.values.texts import as_typed

FOLDER = ["experiment=none", "data=image_folder"]


def parsed(override):
    """The list as Hydra reads it, or null."""
    values = OverridesParser.create().parse_overrides([override])[0].value()
    return values and [getattr(value, "text", value) for value in values]


@pytest.mark.parametrize(
    ("typed", "classes"),
    [
        ("[1e3,true]", ["1e3", "true"]),
        ("[01, 1_000 ,0x10,1.50,-0,+5]", ["01", "1_000", "0x10", "1.50", "-0", "+5"]),
        ("[null,None,nan,inf,No,on]", ["null", "None", "nan", "inf", "No", "on"]),
        ("['1e3',\"a, b\",cat dog]", ["1e3", "a, b", "cat dog"]),
        ("[a,b]", ["a", "b"]),
        ("null", None),
    ],
)
def test_lists_of_texts_stay_as_typed(typed, classes):
    assert parsed(as_typed(f"data.classes={typed}")) == classes


def test_class_names_reach_the_configuration_as_typed():
    assert compose([*FOLDER, "data.classes=[1e3,true]"])["data"]["classes"] == ["1e3", "true"]


@pytest.mark.parametrize(
    "typed", [("1e3", "true", "007"), ("1_0", "nan", "2026"), ("-1", "a b", "1.0")], ids=["a", "b", "c"]
)
def test_texts_stay_as_typed(typed):
    keys = ("data.root", "data.csv", "run_dir")
    found = compose([*FOLDER, *(f"{key}={text}" for key, text in zip(keys, typed, strict=True))])
    assert (found["data"]["root"], found["data"]["csv"], found["run_dir"]) == typed


def test_null_is_no_text_and_numbers_stay_numbers():
    found = compose([*FOLDER, "data.csv=null", "seed=7", "data.image_size=32", "data.test_fraction=0.5"])
    assert (found["data"]["csv"], found["seed"]) == (None, 7)
    assert (found["data"]["image_size"], found["data"]["test_fraction"]) == (32, 0.5)
    assert as_typed("seed=1,2") == "seed=1,2" and as_typed("data.root=${run_dir}") == "data.root=${run_dir}"


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.text("0123456789eE+-._truefalsn", min_size=1, max_size=6), min_size=1, max_size=4))
def test_random_class_names_stay_as_typed(names):
    assert parsed(as_typed(f"data.classes=[{','.join(names)}]")) == names


def test_the_home_folder_is_expanded_in_every_path(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    found = compose([*FOLDER, "data.root=~/photos", "data.csv=~/l.csv", "scoring.features_file=~/f.npy", "run_dir=~/r"])
    assert found["run_dir"] == str(tmp_path / "r")
    assert found["data"]["root"] == "~/photos", "as typed, so that a run resumes where the home folder is another"
    built = build(found)
    assert (built.data.root, built.data.csv) == (str(tmp_path / "photos"), str(tmp_path / "l.csv"))
    assert built.scoring.features_file == str(tmp_path / "f.npy")
    assert expand_home({"a": "~", "b": "~x", "c": "a~/b", "d": {"e": 1}}) == {
        "a": str(Path.home()),
        "b": "~x",
        "c": "a~/b",
        "d": {"e": 1},
    }
