"""A trainer that is killed while people answer goes on as if nobody had touched it, which a replay proves."""

import json
import random
import signal

import pytest
from helpers import killed_people, processes

from dal.labeling.people.answers import Answers
from dal.runs.asked import read_asked

SETTINGS = [
    "campaign.initial_size=10",
    "campaign.query_size=8",
    "campaign.budget=70",
    "campaign.validation_size=6",
    "training.min_updates=10",
    "training.max_updates=20",
    "training.check_every=10",
    "training.warm_start=shrink_perturb",
    "data.max_train=300",
    "scoring.batch_size=100",
    "acquisition=margin",
    "oracle.refit_labels=5",
]


def test_a_trainer_killed_at_random_moments_is_replayed_bit_by_bit(tmp_path):
    moments = random.Random(5)
    points = ",".join(f"{moments.uniform(0.02, 0.5):.2f}" for _ in range(3))
    done = processes.run([killed_people.__file__, tmp_path / "run", points, *SETTINGS])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same weights" in done.stdout
    rows = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert rows[-1]["campaign_stopped"] == "budget" and rows[-1]["labels_bought"] >= 70
    lines = read_asked(tmp_path / "run")
    assert [line.ask for line in lines] == list(range(len(lines)))
    answers = Answers(tmp_path / "run", [str(digit) for digit in range(10)])
    answers.refresh()
    events = list(answers.events())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert len({event.index for event in events}) == len(events), "no image is labeled twice"


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_end_a_run_that_waits(tmp_path, number, expected):
    settings = ["oracle=people", "oracle.wait=true", f"run_dir={tmp_path / 'run'}"]
    with processes.Process(["-m", "dal", "run", *SETTINGS, *settings]) as process:
        trainer = tmp_path / "run" / "trainer.json"
        processes.wait_for(
            lambda: (trainer.exists() and "waiting" in trainer.read_text()) or process.returncode is not None
        )
        process.send_signal(number)
        status = process.wait()
        output, errors = process.output()
    assert status == expected, errors
    assert "The same command resumes the run." in output and "Traceback" not in errors
    assert json.loads(trainer.read_text())["phase"] == "stopped"
