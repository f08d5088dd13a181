"""`dal label`: how a run starts and goes on, and how its trainer ends."""

import http.client
import subprocess
import sys

import pytest
from helpers.processes import HANG_SECONDS
from PIL import Image

from dal.cli.commands import parse_command
from dal.cli.label import _server
from dal.cli.label_start import open_run
from dal.errors import DalError
from dal.labeling.people.people_run import with_changes
from dal.runs.files.committed import hash_file
from dal.runs.files.state import write_state
from dal.runs.saved_config import dump_config

ENDS = """
import sys, threading, time
from dal.cli.label_trainer import _end_with_the_page
threading.Thread(target=_end_with_the_page, daemon=True).start()
time.sleep(0.2)
sys.exit(7)
"""


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in "abc":
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / f"{name}.png")
    return "photos"


def test_a_trainer_ends_with_its_own_status_while_the_page_is_open():
    with subprocess.Popen([sys.executable, "-c", ENDS], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as trainer:
        assert trainer.wait(HANG_SECONDS) == 7
        assert trainer.stderr.read() == b""


def test_the_same_settings_in_another_order_go_on(photos):
    first = open_run([photos, "campaign.budget=50", "seed=3"], "cat,dog")
    again = open_run([photos, "seed=3", "campaign.budget=50"], "cat,dog")
    assert first.path == again.path == open_run([photos], None).path


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["campaign.budget=60", "seed=3"], "campaign.budget: expected 50, .* got 60"),
        (["seed=3"], "campaign.budget: expected 50, .* got nothing"),
        (["campaign.budget=50", "seed=3", "campaign.test_size=5"], "campaign.test_size: expected nothing, .* got 5"),
    ],
)
def test_other_settings_are_an_error_with_the_key_that_differs(photos, settings, message):
    run = open_run([photos, "campaign.budget=50", "seed=3"], "cat,dog")
    (run.path / "state.json").write_text("{}")
    with pytest.raises(DalError, match=message):
        open_run([photos, *settings], "cat,dog")


def test_settings_that_say_when_people_are_asked_can_change(photos):
    run = open_run([photos, "oracle.overlap=2", "seed=3"], "cat,dog")
    assert run.setting("oracle.overlap") == 2
    config = {"oracle": {"kind": "people", "overlap": 2, "wait": True}, "data": {"classes": ["cat", "dog"]}, "seed": 3}
    (run.path / "config.yaml").write_text(dump_config(config))
    digests = {"config.yaml": hash_file(run.path, "config.yaml")}
    write_state(run.path, {"stage": "select", "rounds": 0, "bytes": {}, "data": "x", "digests": digests})
    for settings, overlap, prefetch in (
        (["seed=3", "oracle.overlap=1", "oracle.prefetch=4"], 1, 4),
        (["seed=3"], 1, 8),
        (["seed=3", "oracle.overlap=3"], 3, 8),
    ):
        run = open_run([photos, *settings], "cat,dog")
        assert (run.setting("oracle.overlap"), run.setting("oracle.prefetch")) == (overlap, prefetch)
        assert with_changes(run.path, config)["oracle"]["overlap"] == overlap, "what the trainer uses"
    run = open_run([str(run.path), "oracle.prefetch=5"], None)
    assert (run.setting("oracle.overlap"), run.setting("oracle.prefetch"), run.setting("seed")) == (3, 5, 3)
    assert open_run([photos], None).setting("oracle.prefetch") == 5
    assert config["oracle"]["overlap"] == 2, "replay reads the settings of the start"
    for settings in (["oracle.overlap=1", "seed=4"], ["oracle.noise=0.1"]):
        with pytest.raises(DalError, match="no settings, because the run has its own"):
            open_run([str(run.path), *settings], None)
    with pytest.raises(DalError, match=r"oracle\.wait: expected no value, because dal label sets it"):
        open_run([photos, "oracle.wait=false"], "cat,dog")


@pytest.mark.parametrize(("host", "status"), [("label.example.org", 303), ("other.example.org", 421)])
def test_a_proxy_passes_on_the_host_name_that_is_given(photos, host, status):
    options = parse_command(["label", photos, "--classes", "cat,dog", "--server-name", "Label.Example.org"])
    with _server(open_run(options.paths, options.classes), options) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=HANG_SECONDS)
        connection.request("GET", f"/?token={server.gate.token}", headers={"Host": host})
        assert connection.getresponse().status == status
        connection.close()


def test_an_initial_set_that_reads_labels_is_refused_before_a_folder_is_made(photos, tmp_path):
    with pytest.raises(DalError, match=r"^campaign\.initial: expected random, typiclust or kmeans"):
        open_run([photos, "campaign.initial=balanced"], "cat,dog")
    assert not (tmp_path / "runs").exists()
