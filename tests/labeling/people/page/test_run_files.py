"""What the page reads from a run folder: the model's facts, asked.csv, its last address, and its own file."""

import json
import subprocess
import sys
from importlib.resources import files

import pytest

from dal.errors import DalError
from dal.labeling.people.page.address import Address, last_address, only_page, remember_address
from dal.labeling.people.page.asked_file import AskedFile
from dal.labeling.people.page.facts import Facts, RunFacts
from dal.runs.asked import AskedLine
from dal.runs.layout import PAGE


def test_a_folder_without_a_run_has_no_facts(tmp_path):
    assert RunFacts(tmp_path)() == Facts()


def test_the_facts_are_those_of_the_last_round(tmp_path, synthetic):
    run = synthetic.write_run(
        tmp_path / "run",
        [0.5, 0.8],
        stopped=None,
        extra=lambda i: {"rho": 3 * i, "answers_seq": 10 * i, "num_test": 40},
    )
    facts = RunFacts(run)
    assert facts() == Facts(accuracy=0.8, num_test=40, rho=3, answers_seq=10, round=1)
    (run / "trainer.json").write_text(json.dumps({"phase": "training", "round": 2, "pid": 1, "error": None}))
    assert (facts().phase, facts().accuracy) == ("training", 0.8)
    (run / "trainer.json").write_text(json.dumps({"phase": "stopped", "error": "loss: got nan."}))
    assert facts().error == "loss: got nan."
    (run / "trainer.json").write_text("half a li")
    assert facts().error is None


def test_a_round_that_is_being_written_changes_no_facts(tmp_path, synthetic):
    run = synthetic.write_run(tmp_path / "run", [0.5], stopped="target")
    facts = RunFacts(run)
    assert (facts().stopped, facts().num_test, facts().accuracy) == ("target", 0, 0.5)
    (run / "state.json").write_text("{}")
    assert facts().accuracy == 0.5


def test_the_first_lines_stand_in_until_the_trainer_commits(tmp_path):
    first = [AskedLine(0, 0, 0, 3, "3.jpg", kind="test")]
    asked = AskedFile(tmp_path, first)
    assert asked() == first
    assert asked() is asked()


def test_a_server_that_starts_again_has_the_same_address(tmp_path):
    assert last_address(tmp_path).port == 0
    address = Address(4321, "a-token-of-the-last-server")
    remember_address(tmp_path, address)
    remember_address(tmp_path, address)
    assert last_address(tmp_path) == address
    assert (tmp_path / PAGE).stat().st_mode & 0o077 == 0
    remember_address(tmp_path / "none", address)


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"port": 0}', '{"port": "x", "token": "a-token-of-the-last-server"}', '{"port": 5, "token": ""}'],
)
def test_a_damaged_address_gives_a_new_one(tmp_path, text):
    (tmp_path / PAGE).write_text(text)
    port, token = last_address(tmp_path)
    assert (port, len(token) > 40) == (0, True)


def test_a_run_has_one_page_at_a_time(tmp_path):
    remember_address(tmp_path, Address(4321, "a-token-of-the-last-server"))
    with only_page(tmp_path), pytest.raises(DalError, match="already open on port 4321"), only_page(tmp_path):
        pass
    with only_page(tmp_path):
        pass


def test_the_page_is_one_file_of_the_package():
    html = files("dal.labeling.people.page").joinpath("page.html").read_text("utf-8")
    assert html.startswith("<!doctype html>")
    assert html.count("<script>") == html.count("<style>") == 1


def test_the_server_starts_without_torch_and_pandas():
    """dal label shows an image before PyTorch is imported."""
    code = (
        "import sys; import dal.labeling.people.page.server, dal.labeling.people.page.asked_file, "
        "dal.labeling.people.page.address; print({'torch', 'pandas', 'hydra', 'scipy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
