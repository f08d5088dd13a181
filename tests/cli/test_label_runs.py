"""`dal label` on a run that `dal run oracle=people` started, and what other commands make of that run."""

import json

import pytest
from helpers.label_command import answer_all, beside, call

from dal.cli.main import main
from dal.config.overrides import compose
from dal.config.schema import build
from dal.data import load
from dal.labeling.people.people_run import PeopleRun

SETTINGS = [
    "campaign.initial_size=10",
    "campaign.query_size=8",
    "campaign.budget=34",
    "campaign.validation_size=6",
    "training.min_updates=10",
    "training.max_updates=20",
    "training.check_every=10",
    "data.max_train=300",
    "acquisition=margin",
]


@pytest.fixture(scope="module")
def digits():
    return load(build(compose(SETTINGS)).data).train


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "margin" / "seed0"
    with pytest.raises(SystemExit) as caught:
        main(["run", *SETTINGS, f"run_dir={folder}"])
    assert not caught.value.code
    return folder


def test_answers_through_the_page_give_the_selections_of_a_simulation(simulated, digits, tmp_path, capsys, monkeypatch):
    run = tmp_path / "people" / "seed0"
    start = ["run", *SETTINGS, "oracle=people", f"run_dir={run}"]
    for _ in range(10):
        status, output, errors = call(capsys, *start)
        if status != 3:
            break
        assert f"Run `dal label {run}`" in output
        answered = []

        def work(client, answered=answered):
            answered += answer_all(client, name=lambda item: digits.classes[int(digits.labels[item["index"]])])
            _, headers, image = client.request("GET", f"/image/{answered[0]['index']}")
            assert headers["Content-Type"] == "image/png" and image.startswith(b"\x89PNG")

        assert beside(capsys, monkeypatch, work, run, "--no-train")[0] == 130
        assert answered
    assert status == 0, errors
    assert list(PeopleRun(run).ids) == digits.ids, "a page that is up knows the points of later queries"
    assert (run / "selections.csv").read_bytes() == (simulated / "selections.csv").read_bytes()

    status, output, errors = call(capsys, "report", run)
    assert status == 0 and "ana" in output, errors
    status, output, errors = call(capsys, "rank", run, "--top", "3")
    assert status == 0 and len((run / "ranking_margin.csv").read_text().splitlines()) == 4, errors
    status, _, errors = call(capsys, "compare", run, simulated, "--vary", "oracle.kind", "--output", tmp_path / "pages")
    assert status in (0, 2), errors  # one seed of each is too few for statistics
    status, output, errors = call(capsys, "replay", run)
    assert status == 0 and "the same weights" in output, errors


def test_a_run_that_waits_for_people_is_no_folder_of_images(tmp_path, capsys):
    run = tmp_path / "run"
    assert call(capsys, "run", *SETTINGS, "oracle=people", f"run_dir={run}")[0] == 3
    for more in (["--classes", "cat,dog"], ["campaign.budget=9"]):
        status, _, errors = call(capsys, "label", run, "--no-train", *more)
        assert status == 2 and "no settings, because the run has its own" in errors
    status, _, errors = call(capsys, "label", tmp_path / "no-such-folder", "--no-train")
    assert status == 2 and "no-such-folder" in errors


def test_a_simulation_has_no_page_and_no_questions(simulated, tmp_path, capsys):
    (tmp_path / "told.csv").write_text("id,label\n1,1\n")
    for command in (["label", simulated, "--no-train"], ["ask", simulated], ["tell", simulated, tmp_path / "told.csv"]):
        status, output, errors = call(capsys, *command)
        assert (status, output) == (2, "")
        assert "expected a run with oracle=people, got oracle=dataset" in errors
    assert json.loads((simulated / "state.json").read_text())["stage"] == "done"
