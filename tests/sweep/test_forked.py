"""Cells forked from one process that has imported what they need: as if each were started anew."""

import json
import os
import shlex
import signal
from pathlib import Path

from helpers.processes import HANG_SECONDS, wait_for

from dal.sweep.forked import Forked
from dal.sweep.process import Spawned, cell_command, how_it_ended, note_end

QUICK = ["campaign.initial_size=10", "campaign.query_size=10", "campaign.growth=1", "data.max_train=300"]
QUICK += ["training.min_updates=10", "training.max_updates=20", "campaign.stop_set_size=0", "campaign.budget=30"]
LONG = [*QUICK, "training.min_updates=1000000", "training.max_updates=1000000"]


def wait_until_at_work(folder):
    wait_for(lambda: (folder / "log").is_file() and "images in the pool" in (folder / "log").read_text())


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def ended(cell):
    wait_for(lambda: cell.poll() is not None)
    cell.end_input()
    return cell.poll()


def test_it_does_what_a_process_started_anew_does(tmp_path):
    # Python lists each import of the new process in its log.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPROFILEIMPORTTIME": "1"}
    for kind in (lambda o, *more: Spawned(cell_command(o), *more), Forked):
        folder = tmp_path / kind.__name__
        cell = kind([*QUICK, "acquisition=badge", f"run_dir={folder}"], tmp_path / f"{kind.__name__}.log", environment)
        assert ended(cell) == 0
    one, other = tmp_path / "<lambda>", tmp_path / "Forked"
    assert (one / "selections.csv").read_bytes() == (other / "selections.csv").read_bytes()
    assert sorted(p.name for p in one.iterdir()) == sorted(p.name for p in other.iterdir())
    for path in (one, other):
        (line,) = (path / "environment.jsonl").read_text().splitlines()
        command = shlex.split(json.loads(line)["command"])
        assert command[:3] == ["dal", "run", QUICK[0]] and command[-1] == f"run_dir={path}"
    printed = [path.with_suffix(".log").read_text().replace(str(path), "RUN").splitlines() for path in (one, other)]
    modules = [line.rpartition("|")[2].strip() if line.startswith("import time:") else line for line in printed[0]]
    last = max(number for number, line in enumerate(modules) if "30 labels" in line)
    # The rounds need none of these, which take long to load. The report of the run draws with pandas.
    # Old versions of torchmetrics load scikit-learn.
    assert not {"pandas", "plotly", "datasets"} & {*modules[:last]}
    assert "torch" in modules[:last] and "pandas" in modules[last:]
    printed = [[line for line in lines if not line.startswith("import time:")] for lines in printed]
    kept = [[line for line in lines if "labels" in line and " s" not in line] for lines in printed]
    assert kept[0] == kept[1] and kept[0]


def test_wrong_overrides_end_with_status_2_and_a_sentence(tmp_path):
    assert ended(Forked(["campaign.bugdet=3", f"run_dir={tmp_path}/run"], tmp_path / "log", os.environ)) == 2
    assert "did you mean budget" in (tmp_path / "log").read_text()


def test_the_end_of_its_input_is_a_ctrl_c(tmp_path):
    cell = Forked([*LONG, f"run_dir={tmp_path}/run"], tmp_path / "log", os.environ)
    wait_until_at_work(tmp_path)
    cell.stop(HANG_SECONDS)
    assert cell.poll() == 130 and "Stopped after 0 rounds." in (tmp_path / "log").read_text()


def test_what_kills_it_is_told(tmp_path):
    cell = Forked([*LONG, f"run_dir={tmp_path}/run"], tmp_path / "log", os.environ)
    wait_until_at_work(tmp_path)
    os.kill(cell.pid, signal.SIGKILL)
    assert ended(cell) == -signal.SIGKILL


def test_when_the_server_is_killed_it_is_said_and_another_is_started(tmp_path):
    cell = Forked([*LONG, f"run_dir={tmp_path}/run"], tmp_path / "log", os.environ)
    wait_until_at_work(tmp_path)
    os.kill(parent_of(cell.pid), signal.SIGKILL)
    status = ended(cell)
    note_end(tmp_path / "log", status)
    assert how_it_ended(tmp_path / "log") == "the fork server was killed"
    assert ended(Forked(["campaign.bugdet=3"], tmp_path / "other", os.environ)) == 2


def test_it_has_the_environment_and_threads_that_it_is_given(tmp_path):
    own = tmp_path / "own.py"
    own.write_text(
        "import os, torch\nfrom dal.acquisition import ScoreFunction\n"
        "class Own(ScoreFunction):\n    def score(self, model, x):\n"
        "        names = os.environ.get('MINE'), os.environ.get('THEIRS')\n"
        "        print('seen:', torch.get_num_threads(), *names, flush=True)\n"
        "        return -x.flatten(1).sum(dim=1)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "THEIRS"} | {"OMP_NUM_THREADS": "2", "MINE": "yes"}
    os.environ["THEIRS"] = "no"
    try:
        overrides = [*QUICK, "campaign.budget=20", f"acquisition={own}", f"run_dir={tmp_path}/run"]
        cell = Forked(overrides, tmp_path / "log", environment)
    finally:
        del os.environ["THEIRS"]
    assert ended(cell) == 0
    assert "seen: 2 yes None" in (tmp_path / "log").read_text()
