"""Another setting of an existing run is refused before the heavy imports, and nothing else is."""

import pytest

from dal.cli.early import refuse_other_settings
from dal.errors import DalError


@pytest.fixture
def folder(tmp_path, synthetic, monkeypatch):
    monkeypatch.chdir(tmp_path)
    synthetic.write_run(tmp_path / "mine", [0.5, 0.6], seed=3)
    return "run_dir=mine"


@pytest.mark.parametrize("texts", [["seed=5"], ["seed=3", "seed=4"], ["seed=-1"]])
def test_another_number_is_refused(folder, texts):
    with pytest.raises(DalError, match=r"^seed: expected 3, as at the start of the run in 'mine', got -?\d"):
        refuse_other_settings([folder, *texts])


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["seed=3"],
        ["seed=+3"],
        ["seed=4", "seed=3"],
        ["seed=${x}"],
        ["seed=abc"],
        ["seed=1,2"],
        ["seed=5", "--multirun"],
        ["seed=5", "run_dir=other"],
        ["++seed=5"],
        ["nope=5"],
        ["acquisition=bald"],
        ["compute=long"],
    ],
)
def test_all_else_is_left_to_the_run(folder, texts):
    refuse_other_settings([folder, *texts])


def test_a_folder_that_is_no_run_is_left_to_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse_other_settings(["run_dir=new", "seed=5"])
    (tmp_path / "new").mkdir()
    refuse_other_settings(["run_dir=new", "seed=5"])
