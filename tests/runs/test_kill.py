"""A run killed with SIGKILL and resumed ends as one that nobody touched: the same selections, the same metrics."""

import json
import random
import signal

import pytest
from helpers import held_run, killed_run, processes

from dal.runs.files.committed import hash_file

SETTINGS = [
    "campaign.initial_size=20",
    "campaign.query_size=15",
    "campaign.budget=60",
    "campaign.validation_size=10",
    "training.min_updates=20",
    "training.max_updates=40",
    "training.updates_per_label=3",
    "training.check_every=20",
    "training.warm_start=shrink_perturb",
    "oracle.noise=0.1",
    "data.max_train=400",
    "scoring.batch_size=100",
    "acquisition=bald",
    "acquisition.num_draws=5",
]
TIMES = ("seconds_", "peak_memory_bytes", "joules_")


def outcome(folder, points=(), settings=SETTINGS):
    """Run to the end, through a death at each point, and return what must not depend on it."""
    done = processes.run([killed_run.__file__, folder, ",".join(points), *settings])
    assert done.returncode == 0, done.stdout + done.stderr
    return what_counts(folder)


def what_counts(folder):
    rows = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    counted = [{k: v for k, v in row.items() if not k.startswith(TIMES)} for row in rows]
    records = {path.name: hash_file(folder, path.name) for path in folder.glob("*.npz")}
    assert len(records) == len(rows) + 1, "one of each round, and the features of the last"
    return (folder / "selections.csv").read_text(), (folder / "validation.csv").read_text(), counted, records


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    result = outcome(tmp_path_factory.mktemp("undisturbed") / "run")
    assert len(result[2]) == 3
    return result


def test_killed_while_training_testing_and_scoring(tmp_path, undisturbed):
    points = ["train:7", "test:1", "score:1", "train:39", "score:250"]
    assert outcome(tmp_path / "run", points) == undisturbed


def test_killed_between_a_journal_and_its_commit(tmp_path, undisturbed):
    # A new folder commits its start, the validation query and its labels, a query, its labels and a round. A resumed
    # one commits what is left of them, so each of these dies one commit later.
    points = ["commit:1", *["commit:2"] * 5]
    assert outcome(tmp_path / "run", points) == undisturbed


def test_killed_while_labels_are_awaited(tmp_path, undisturbed):
    # The validation set, the initial set, and a query that a model has scored.
    points = ["answer:1", "answer:2", "answer:2"]
    assert outcome(tmp_path / "run", points) == undisturbed


def test_killed_with_neighbors_as_candidates(tmp_path):
    kept = [s for s in SETTINGS if not s.startswith("acquisition")]
    settings = [*kept, "acquisition=margin", "candidates.kind=neighbors", "candidates.num_neighbors=5"]
    undisturbed = outcome(tmp_path / "undisturbed", settings=settings)
    assert [row.get("samples_forward_embed", 0) for row in undisturbed[2]] == [0, 400, 0]
    # While the embedding is made, after that, and while it is made again.
    points = ["embed:400", "train:39", "embed:1", "commit:1", "commit:2"]
    assert outcome(tmp_path / "run", points, settings) == undisturbed


def test_killed_from_outside_at_random_moments(tmp_path, undisturbed):
    moments = random.Random(4)
    points = [f"after:{moments.uniform(0.1, 0.9):.2f}" for _ in range(4)]
    assert outcome(tmp_path / "run", points) == undisturbed


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_leave_a_folder_that_resumes(tmp_path, undisturbed, number, expected):
    folder = tmp_path / "run"
    with processes.Process([held_run.__file__, tmp_path, "run", *SETTINGS, f"run_dir={folder}"]) as process:
        processes.wait_for(lambda: (tmp_path / "held").exists() or process.returncode is not None)
        process.send_signal(number)
        (tmp_path / "go").touch()
        status = process.wait()
        output, errors = process.output()
    assert status == expected, errors
    assert "The same command resumes the run." in output
    assert "Traceback" not in errors
    assert outcome(folder) == undisturbed
