"""What the page reads from a run folder: the model's facts, asked.csv, its last address, and its own file."""

import json
import subprocess
import sys
from importlib.resources import files

import pytest

from dal.labeling.people.page.facts import Facts, RunFacts
from dal.labeling.people.page.last_address import LastAddress


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


@pytest.mark.parametrize("token", ["a-token-of-the-last-server", None])
def test_a_server_that_starts_again_has_the_same_address(token, tmp_path):
    last = LastAddress(tmp_path)
    assert last.read() == (0, None)
    last.write(4321, token)
    last.write(4321, token)
    assert LastAddress(tmp_path).read() == (4321, token)
    assert last.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "[]", '{"port": 0}', '{"port": "x", "token": "a-token-of-the-last-server"}'])
def test_a_damaged_address_counts_as_none(tmp_path, text):
    last = LastAddress(tmp_path)
    last.path.write_text(text)
    last.path.chmod(0o600)
    assert last.read() == (0, None)


def test_an_address_that_others_could_have_written_counts_as_none(tmp_path):
    last = LastAddress(tmp_path)
    last.write(4321, "a-token-of-the-last-server")
    last.path.chmod(0o644)
    assert last.read() == (0, None)


def test_the_page_is_one_file_of_the_package():
    html = files("dal.labeling.people.page").joinpath("page.html").read_text("utf-8")
    assert html.startswith("<!doctype html>")
    assert html.count("<script>") == html.count("<style>") == 1


def test_the_server_starts_without_torch_and_pandas():
    """dal label shows an image before PyTorch is imported."""
    code = (
        "import sys; import dal.labeling.people.page.server, dal.labeling.people.people_run, "
        "dal.labeling.people.page.last_address; print({'torch', 'pandas', 'hydra', 'scipy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
