"""Somebody's own acquisition function, in a file outside the package: run, resumed, ranked and reported."""

import json
import sys
from dataclasses import asdict

import pandas as pd
import pytest
import torch
import yaml

from dal.acquisition.own_file import load_own_file
from dal.cli.main import main
from dal.config.overrides import compose
from dal.config.schema import build
from dal.config.trusted_files import is_trusted, remember
from dal.config.unit_settings import AcquisitionSettings
from dal.data import load
from dal.errors import DalError
from dal.runs.saved_config import load_config
from dal.sweep.grid import expand

CODE = """
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from beside import SIGN
from dal.acquisition.base import PoolModel, ScoreFunction


@dataclass(frozen=True)
class Brightness(ScoreFunction):
    power: float = 1.0

    def score(self, model: PoolModel, x: Tensor) -> Tensor:
        return SIGN * x.flatten(1).mean(dim=1).double() * self.power
"""
QUICK = ["campaign.initial_size=10", "campaign.query_size=10", "campaign.growth=1", "data.max_train=200"]
QUICK += ["training.min_updates=2", "training.max_updates=4", "campaign.stop_set_size=0"]


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "my ideas"
    folder.mkdir()
    (folder / "beside.py").write_text("SIGN = 1.0\n")
    (folder / "brightness.py").write_text(CODE)
    return folder / "brightness.py"


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return caught.value.code or 0, printed.out, printed.err


def test_it_is_an_option_with_its_fields(file):
    config = compose([f"acquisition={file}", "acquisition.power=2"])
    own = load_own_file(file)
    own_keys = {"name": "brightness", "file": str(file), "digest": own.digest, "power": 2.0}
    assert config["acquisition"] == own_keys | asdict(AcquisitionSettings())
    assert config["run_dir"] == "runs/digits/brightness/seed0"
    function = build(config).acquisition
    assert function == own.cls(power=2.0) and function.name == "brightness"
    names = "digest, file, max_per_image, name, per_cost, pool, power, top_k"
    with pytest.raises(DalError, match=f"acquisition: expected one of {names}, got 'draws'"):
        compose([f"acquisition={file}", "acquisition.draws=2"])


def test_run_resume_rank_and_report(file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(file.parent.parent)
    for name in ("my ideas/brightness.py", "random"):
        status, _, err = call(capsys, "run", f"acquisition={name}", *QUICK, "campaign.budget=20")
        assert status == 0, err
    run = tmp_path / "runs" / "digits" / "brightness" / "seed0"
    assert load_config(run / "config.yaml")["acquisition"]["file"] == str(file)
    # What it chose is what the file says: the brightest of the pool, best first.
    config = load_config(run / "config.yaml")
    data = load(build(config).data).train
    brightness = data.plain(range(len(data))).flatten(1).double().mean(dim=1)
    chosen = pd.read_csv(run / "selections.csv")
    left = brightness.clone()
    left[chosen["index"][:10].tolist()] = -float("inf")
    assert chosen["index"][10:].tolist() == left.argsort(descending=True)[:10].tolist()

    monkeypatch.chdir("/")
    status, _, err = call(capsys, "rank", run, "--top", 3)
    assert status == 0, err
    left[chosen["index"][10:].tolist()] = -float("inf")
    ranking = pd.read_csv(run / "ranking_brightness.csv")
    assert ranking["index"].tolist() == left.argsort(descending=True)[:3].tolist()
    status, _, err = call(capsys, "rank", run, "acquisition.power=-1", "--top", 1)
    assert status == 0, err
    left[chosen["index"].tolist()] = float("inf")
    assert pd.read_csv(run / "ranking_brightness.csv")["index"].tolist() == [int(left.argmin())]

    status, _out, err = call(capsys, "report", tmp_path / "runs")
    assert status == 0, err
    summary = pd.read_csv(tmp_path / "runs" / "digits" / "summary.csv")
    assert set(summary["acquisition"]) == {"brightness", "random"}
    # Paired: random's seed 0 is what it is compared with.
    assert summary.set_index("acquisition")["area_minus_random"].notna()["brightness"]


def test_a_moved_file_goes_on_and_a_changed_one_does_not(file, tmp_path, capsys):
    run = tmp_path / "run"
    settings = [*QUICK, "campaign.budget=20", f"run_dir={run}"]
    assert call(capsys, "run", f"acquisition={file}", *settings)[0] == 0
    moved = file.parent / "elsewhere" / "brightness.py"
    moved.parent.mkdir()
    moved.write_text(CODE)
    status, out, err = call(capsys, "run", f"acquisition={moved}", *settings)
    assert status == 0 and "is already finished" in out, err
    file.write_text(CODE + "# changed\n")
    status, _, err = call(capsys, "run", f"acquisition={file}", *settings)
    assert status == 2 and err.startswith(f"Error: acquisition.digest (of {file}, which has changed): ")
    assert err.count("\n") == 1
    status, _, err = call(capsys, "rank", run)
    assert status == 2 and "acquisition.file: expected" in err and "as it was" in err
    assert call(capsys, "rank", run, f"acquisition={file}", "--top", 1)[0] == 0
    assert len([json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]) == 2


LEARNS_FROM_LABELS = """
import copy
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import PoolModel, ScoreFunction, Summary


@dataclass(frozen=True)
class NearClass(ScoreFunction):
    learns_from_labels: ClassVar[bool] = True

    label: int = 0
    mean: Tensor | None = field(default=None, init=False, repr=False, compare=False)

    def with_labeled(self, labeled: Summary, labels: Tensor) -> "NearClass":
        told = copy.copy(self)
        object.__setattr__(told, "mean", labeled["scores"][labels == self.label].mean())
        return told

    def score(self, model: PoolModel, x: Tensor) -> Tensor:
        brightness = x.flatten(1).mean(dim=1).double()
        return brightness if self.mean is None else -(brightness - self.mean).abs()
"""


def test_it_can_ask_for_the_labels(file, tmp_path, capsys):
    path = file.parent / "near_class.py"
    path.write_text(LEARNS_FROM_LABELS)
    run = tmp_path / "run"
    settings = [f"acquisition={path}", "acquisition.label=3", *QUICK, "campaign.budget=20", f"run_dir={run}"]
    settings += ["campaign.initial=balanced"]
    status, _, err = call(capsys, "run", *settings)
    assert status == 0, err
    config = load_config(run / "config.yaml")
    assert set(config["acquisition"]) == {"name", "file", "digest", "label", *asdict(AcquisitionSettings())}
    data = load(build(config).data).train
    brightness = data.plain(range(len(data))).flatten(1).double().mean(dim=1)
    chosen = torch.tensor(pd.read_csv(run / "selections.csv")["index"])
    start = chosen[:10]
    distances = (brightness - brightness[start[data.labels[start] == 3]].mean()).abs()
    distances[start] = torch.inf
    # Pixels are few, and images of one brightness many.
    torch.testing.assert_close(distances[chosen[10:]], distances.sort().values[:10])


@pytest.mark.parametrize(
    "name,code,message",
    [
        ("mine.py", "x = 1", "expected one acquisition function in mine.py, .* got 'none'"),
        (
            "mine.py",
            f"{CODE}\nclass Other(ScoreFunction):\n    score = Brightness.score\n",
            r"\['Brightness', 'Other'\]",
        ),
        ("mine.py", "import no_such_module", "can be imported, got ModuleNotFoundError: No module named 'no_such_mod"),
        ("mine.py", "def f(:", "can be imported, got SyntaxError"),
        (
            "mine.py",
            CODE.replace(": float = 1.0", ": float"),
            "Brightness.po",
        ),
        ("mine.py", CODE.replace("power", "digest"), "no field called name, file or digest, got 'digest'"),
        (
            "mine.py",
            CODE.replace("    power", "    needs_labels: ClassVar[bool] = True\n    power"),
            r"^mine.py: Brightness.needs_labels: expected learns_from_labels, got the old name\.$",
        ),
        ("bald.py", CODE, "a file name that no function in dal has, got 'bald.py'"),
        ("my-own.py", CODE, "a file name that is a Python identifier, such as my_function.py, got 'my-own.py'"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(file, name, code, message):
    path = file.parent / name
    path.write_text(code)
    with pytest.raises(DalError, match=message) as caught:
        compose([f"acquisition={path}"])
    assert "\n" not in str(caught.value)


def test_its_name_hides_no_module(file):
    import statistics

    path = file.parent / "statistics.py"
    path.write_text(CODE)
    assert load_own_file(path).cls is load_own_file(path).cls
    import sys

    assert sys.modules["statistics"] is statistics


@pytest.fixture
def marked(file, tmp_path, capsys, monkeypatch):
    """A run of an own function that leaves a mark whenever it is imported, on a machine that has run none."""
    mark = tmp_path / "mark"
    file.write_text(CODE + f"\nopen({str(mark)!r}, 'a').write('imported ')\n")
    run = tmp_path / "run"
    assert call(capsys, "run", f"acquisition={file}", *QUICK, "campaign.budget=20", f"run_dir={run}")[0] == 0
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another machine"))
    for name in [name for name in sys.modules if name.startswith("dal_own_files")]:
        del sys.modules[name]
    mark.unlink()
    return run, mark


def test_a_run_folder_of_others_runs_no_code(marked, file, capsys):
    run, mark = marked
    for overrides in (
        [],
        ["seed=1"],
        ["acquisition.power=2"],
        ["acquisition=margin"],
        ["acquisition=margin", "seed=1"],
    ):
        status, _, err = call(capsys, "rank", run, *overrides, "--top", 1)
        assert not mark.exists()
        if "acquisition=margin" in overrides:
            assert status == 0, err
        else:
            assert status == 2 and f"Add 'acquisition={file}' to run its code" in err and "Traceback" not in err
    assert call(capsys, "rank", run, f"acquisition={file}", "--top", 1)[0] == 0 and mark.exists()


def test_a_name_in_a_configuration_is_no_file(marked, file, capsys, synthetic):
    run, mark = marked
    text = (run / "config.yaml").read_text()
    config = yaml.safe_load(text)
    synthetic.as_before_digests(run)
    for acquisition in ({"name": str(file)}, {"name": f"margin,{file}"}, {"name": "margin", "file": [str(file)]}):
        (run / "config.yaml").write_text(yaml.safe_dump(config | {"acquisition": acquisition}))
        for overrides in ([], ["seed=1"]):
            status, _, err = call(capsys, "rank", run, *overrides)
            assert status == 2 and "Traceback" not in err and not mark.exists(), err
    logger = {"logger": {"_target_": "os.system", "command": f"touch {mark}"}, "callbacks": [{"_target_": "x.y"}]}
    margin = {"acquisition": {"name": "margin"}, "trainer": config["trainer"] | logger}
    (run / "config.yaml").write_text(yaml.safe_dump(config | margin))
    assert call(capsys, "rank", run, "--top", 1)[0] == 0 and not mark.exists()


def test_a_machine_trusts_what_it_has_run_at_that_place_alone(file, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert not is_trusted(file)
    remember(file)
    assert is_trusted(file)
    other = tmp_path / file.name
    other.write_bytes(file.read_bytes())
    assert not is_trusted(other) and not is_trusted(tmp_path / "nowhere.py")
    file.write_text(CODE + "# changed\n")
    assert not is_trusted(file)
    monkeypatch.setenv("XDG_STATE_HOME", str(other))  # a file is no place for records, and stops no run
    remember(file)
    assert not is_trusted(file)


@pytest.mark.parametrize("name", ["nan", "null", "true", "inf", "on"])
def test_a_file_can_have_a_name_that_yaml_reads_as_a_value(name, tmp_path):
    file = tmp_path / f"{name}.py"
    file.write_text(
        "from dal.acquisition.base import ScoreFunction\n\n\nclass Mine(ScoreFunction):\n"
        "    def score(self, model, x):\n        return x\n"
    )
    cells = expand([f"acquisition=margin,{file}", "seed=0,1"])
    for config in (compose([f"acquisition={file}"]), cells[2].config):
        assert (config["acquisition"]["name"], build(config).acquisition.name) == (name, name)
        assert config["run_dir"] == f"runs/digits/{name}/seed0"
