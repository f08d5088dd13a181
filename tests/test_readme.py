"""The code of every README runs as it stands there, its commands are accepted, and its links and files exist."""

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torchvision
from helpers.toy_masks import TinyNet, toy_scenes
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch.utils.data import TensorDataset

from dal import ActiveLearner, adapt
from dal.acquisition import Margin
from dal.analysis import read_run
from dal.cli.ask import ask_command
from dal.cli.commands import parse_command
from dal.cli.label_start import open_run
from dal.config.overrides import check_overrides, compose, under_current_keys
from dal.config.saved_run import config_to_rank
from dal.data import from_dataset
from dal.data.sets.registry import registry as data_sets
from dal.errors import DalError
from dal.training import TrainingConfig

ROOT = Path(__file__).parent.parent
FOLDERS = ("benchmarks", "configs", "dal", "scripts", "tests")
# Not the dated results, which are history.
PATHS = [ROOT / "README.md", *(p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("README.md")))]
READMES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in PATHS
    if ROOT / "benchmarks" / "results" not in path.parents
}
# Groups of settings whose keys do not depend on a choice.
SECTIONS = ("training", "campaign", "model", "scoring", "candidates", "prices", "oracle", "trainer")
# Hydra needs a plugin for each.
PLUGINS = ("hydra/launcher=", "hydra.launcher.")

# Each block of Python and how a test runs it: by the first words that only it has.
RUN_IN_A_PROJECT = ("from my_project import", 'RunFolder("runs/mine"')
RUN_IN_A_COPY = (
    "# dal/acquisition/mc_entropy.py",
    "# tests/acquisition/test_mc_entropy.py",
    "# dal/data/sets/my_images.py",
)
RUN_WITH_MASKS = ("from my_masks import",)
RUN_WITH_METRICS = ("metrics=metrics",)
RUN_WITH_PEOPLE = ("import Answers", "import People")
RUN_WITH_LOGGERS = ("import CSVLogger, MLFlowLogger",)
RUN_ALONE = (
    "bald_scores, k_center_greedy",
    "import UNKNOWN, from_dataset",
    "import TransformPair",
    "import OUT_OF_CLASS",
    "pd.read_json",
    "class CatOrDog",
    "import measure_units",
    "class Scenes",
)


def blocks(language):
    """(name of the README, block) of every block of a language."""
    pattern = rf"```{language}\n(.*?)```"
    return [(name, b) for name, text in READMES.items() for b in re.findall(pattern, text, flags=re.DOTALL)]


def block(start):
    (found,) = [b for _, b in blocks("python") if start in b]
    return found


def commands():
    """The arguments of every command of dal in a shell block, without its comment, each once."""
    lines = [line for _, text in blocks("sh") for line in text.splitlines()]
    found = {shlex.join(words): words for words in (shlex.split(line, comments=True) for line in lines)}
    return [
        pytest.param(words[words.index("dal") + 1 :], id=line)
        for line, words in found.items()
        if "dal" in words and "venv" not in words
    ]


class MyModule(pl.LightningModule):
    """Somebody's module: its own training_step, forward and optimizer, and a small residual network."""

    def __init__(self):
        super().__init__()
        block = torchvision.models.resnet.BasicBlock
        self.model = torchvision.models.ResNet(block, [1, 1, 1, 1], num_classes=10)
        self.model.conv1 = nn.Conv2d(1, 64, 3, padding=1, bias=False)
        self.steps = 0

    def forward(self, x):
        return self.model(x).softmax(dim=1)

    def training_step(self, batch, batch_idx):
        self.steps += 1
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Logging(MyModule):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss)
        return loss


def test_every_block_of_python_is_run_by_a_test():
    starts = [*RUN_IN_A_PROJECT, *RUN_IN_A_COPY, *RUN_ALONE, *RUN_WITH_LOGGERS, *RUN_WITH_MASKS, *RUN_WITH_METRICS]
    starts += RUN_WITH_PEOPLE
    assert sorted(block(start) for start in starts) == sorted(b for _, b in blocks("python"))


def test_the_lines_for_a_project_of_ones_own(monkeypatch, capsys, tmp_path):
    g = torch.Generator().manual_seed(0)
    dataset = TensorDataset(torch.rand(150, 1, 8, 8, generator=g), torch.randint(0, 10, (150,), generator=g))
    project = types.ModuleType("my_project")
    project.MyModule, project.train_set, project.plain_set = MyModule, dataset, dataset
    monkeypatch.setitem(sys.modules, "my_project", project)
    first, second = (block(start) for start in RUN_IN_A_PROJECT)
    code = first.replace("max_updates=500", "max_updates=3, min_updates=1")
    scope = {}
    exec(compile(code, "README.md", "exec"), scope)
    learner = scope["learner"]
    assert learner.pool.num_labeled == 100 and learner.model.module.steps == 3  # of the last round
    monkeypatch.chdir(tmp_path)
    others = TensorDataset(torch.rand(50, 1, 8, 8, generator=g), torch.arange(50) % 10)
    scope["test_data"] = from_dataset(others, num_classes=10)
    campaign = second.replace("seed=1)", "seed=1, training=TrainingConfig(max_updates=3, min_updates=1))")
    exec(compile(campaign, "README.md", "exec"), scope)
    assert scope["rows"][-1]["num_labeled"] == 60 and (tmp_path / "runs" / "mine" / "selections.csv").exists()
    assert read_run(tmp_path / "runs" / "mine").label == "badge"
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["20", "40", "60", "80", "100"]


def test_the_lines_for_masks_of_ones_own(monkeypatch, capsys):
    project = types.ModuleType("my_masks")
    images, masks = toy_scenes(24)
    project.MyModule, project.test_set = TinyNet, TensorDataset(images[20:] / 255, masks[20:])
    project.train_set = TensorDataset(images[:20] / 255, masks[:20])
    monkeypatch.setitem(sys.modules, "my_masks", project)
    code = block(RUN_WITH_MASKS[0]).replace("seed=1)", "seed=1, training=quick)")
    exec(compile(code, "README.md", "exec"), {"quick": TrainingConfig(max_updates=2, min_updates=1)})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == ["20", "30", "40"] and all(0 < float(line[1]) < 1 for line in lines)
    assert 0 < float(lines[0][2]) < float(lines[2][2])


def test_the_metrics_of_the_training_guide(monkeypatch, capsys):
    dataset = TensorDataset(torch.rand(100, 1, 8, 8), torch.arange(100) % 10)
    data = from_dataset(dataset, num_classes=10)
    code = block(RUN_WITH_METRICS[0]).replace("metrics=metrics", "metrics=metrics, training=quick")
    quick = TrainingConfig(max_updates=2, min_updates=1)
    test_data = from_dataset(TensorDataset(torch.rand(50, 1, 8, 8), torch.arange(50) % 10), num_classes=10)
    scope = {"MyModule": MyModule, "data": data, "test_data": test_data, "quick": quick}
    exec(compile(code, "README.md", "exec"), scope)
    assert len(scope["rows"]) == 3 and capsys.readouterr().out.count(",") == 2


def test_the_labels_of_people_in_the_labeling_guide(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_run").mkdir()
    dataset = TensorDataset(torch.rand(60, 1, 8, 8), torch.arange(60) % 10)
    data = from_dataset(dataset, num_classes=10, labels=[-1] * 60)

    def learner():
        training = TrainingConfig(max_updates=2, min_updates=1)
        return ActiveLearner(adapt(MyModule(), head="model.fc"), data, Margin(), training=training)

    scope = {"data": data, "learner": learner()}
    exec(compile(block(RUN_WITH_PEOPLE[0]), "README.md", "exec"), scope)
    pool = scope["learner"].pool
    assert capsys.readouterr().out == "2 3\n" and pool.num_labeled == 1 and pool.num_unlabeled == 58
    exec(compile(block(RUN_WITH_PEOPLE[1]), "README.md", "exec"), scope | {"learner": learner()})
    assert "waiting for 15 labels of round 0" in capsys.readouterr().out
    ask_command("runs/people", None, "csv", None)
    assert capsys.readouterr().out.count("\n") == 16
    with pytest.raises(DalError, match=r"^dal label: expected a run of .*, got 'runs/people', .* Use dal ask and dal"):
        open_run(["runs/people"], None)
    with pytest.raises(DalError, match=r"^run: expected a run of .*, got 'runs/people', .* no data\. Use the"):
        config_to_rank(Path("runs/people"), [])


def test_the_loggers_of_the_training_guide(monkeypatch, tmp_path):
    """Weights & Biases and MLflow are not installed here; a logger of the same interface stands for each."""
    made = []

    class Standin(CSVLogger):
        def __init__(self, *names, **options):
            super().__init__(tmp_path / f"standin-{len(made)}")
            made.append(self)

    for name in ("WandbLogger", "MLFlowLogger"):
        monkeypatch.setattr(pl.loggers, name, Standin)
    monkeypatch.chdir(tmp_path)
    images, labels = torch.rand(30, 1, 8, 8), torch.arange(30) % 10
    scope = {"MyModule": Logging, "data": from_dataset(TensorDataset(images, labels), num_classes=10)}
    exec(compile(block(RUN_WITH_LOGGERS[0]), "README.md", "exec"), scope)
    learner = scope["learner"]
    learner.training = TrainingConfig(max_updates=2, min_updates=1)
    learner.trainer |= {"log_every_n_steps": 1, "accelerator": "cpu"}
    learner.tell(range(10), labels[:10].tolist())
    for _ in range(2):
        learner.fit()
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("metrics.csv"))
    kept = "lightning_logs/version_0/metrics.csv"
    assert files == [f"logs/{kept}", f"standin-0/{kept}", f"standin-1/{kept}"]
    for file in files:
        rows = (tmp_path / file).read_text().splitlines()
        steps = [row.split(",")[rows[0].split(",").index("step")] for row in rows[1:]]
        assert steps == ["0", "1", "2", "3"]
    assert list((tmp_path / "logs" / "events").rglob("events.out.*"))


COMMANDS = """
import gc, json, sys
gc.disable()  # most of the time is that of imports
import pytest
from dal.cli.main import main
for name, arguments in json.loads(sys.argv[1]):
    print("$", name, flush=True)
    try:
        status = {"pytest": pytest.main, "dal": main}[name](arguments)
    except SystemExit as end:
        status = end.code
    if status:
        sys.exit(f"{name} ended with {status}")
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the package with the files of the guides, and what the guides' commands print there.

    One process runs them all, because its imports take longer than the commands.
    """
    folder = tmp_path_factory.mktemp("copy")
    for name in ("dal", "configs", "tests/acquisition", "tests/helpers"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for start in RUN_IN_A_COPY:
        (folder / start.removeprefix("# ")).write_text(block(start), encoding="utf-8")
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        images = rng.integers(0, 256, (60, 16, 16, 3)).astype(np.uint8)
        np.savez(folder / f"{name}.npz", images=images, labels=np.arange(60) % 2)
    tests = [f"tests/acquisition/test_{name}.py" for name in ("mc_entropy", "conformance")]
    function = ["acquisition=mc_entropy", "acquisition.num_draws=3", "campaign.budget=40", "run_dir=function"]
    data = ["data=my_images", f"data.root={folder}", "campaign.initial_size=20", "campaign.query_size=10"]
    commands = [
        ("pytest", ["-p", "no:cacheprovider", "-k", "mc_entropy", *tests, "-v"]),
        ("dal", ["run", *function, "training.max_updates=100"]),
        ("dal", ["run", *data, "campaign.budget=30", "training.max_updates=100", "run_dir=data"]),
    ]
    process = [sys.executable, "-c", COMMANDS, json.dumps(commands)]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(process, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, re.split(r"^\$ (?:pytest|dal)$", done.stdout, flags=re.MULTILINE)[1:]


def test_a_function_is_one_file_and_one_test_file(copy):
    """In a copy of the package: found by its name, run by the command line, tested by the conformance test."""
    _, (tested, said, _) = copy
    assert int(re.search(r"(\d+) passed", tested)[1]) > 5, tested
    assert "mc_entropy on digits" in said


def test_a_data_set_is_one_file(copy):
    """In a copy of the package: found by its name, configured and run by the command line."""
    folder, (_, _, said) = copy
    assert "margin on my_images: 60 images in the pool, 60 test images, 2 classes: cat, dog" in said
    assert "train-000" in (folder / "data" / "selections.csv").read_text()


def test_the_lines_that_stand_alone(monkeypatch, tmp_path, capsys):
    scopes = {}
    told = []
    learner = types.SimpleNamespace(ask=range, tell=lambda query, labels: told.append(labels))
    folder = tmp_path / "runs" / "digits" / "margin" / "seed0"
    folder.mkdir(parents=True)
    (folder / "rounds.jsonl").write_text('{"labels_bought": 20, "test_accuracy": 0.5}\n')
    monkeypatch.chdir(tmp_path)
    for start in RUN_ALONE:
        scopes[start] = {"learner": learner}
        exec(compile(block(start), "README.md", "exec"), scopes[start])
    tensors, dataset, *_ = scopes.values()
    assert scopes["class Scenes"]["model"].is_dense
    assert len(set(tensors["farthest"].tolist())) == 5 and tensors["most_uncertain"].shape == (5,)
    assert (dataset["data"].labels >= 0).sum() == 50 and dataset["data"].ids[7] == "photo-7"
    assert told == [[1, -2]] and "0.5" in capsys.readouterr().out


@pytest.mark.parametrize("words", commands())
def test_commands_are_accepted(words, monkeypatch, tmp_path):
    """Each key and choice of `dal run` exists, and each argument of the other commands."""
    monkeypatch.chdir(tmp_path)
    if words[:1] != ["run"]:
        parse_command(words)
        return
    (tmp_path / "ideas").mkdir()
    function = block("# dal/acquisition/mc_entropy.py")
    (tmp_path / "ideas" / "mine.py").write_text(function, encoding="utf-8")
    settings = [word for word in words[1:] if not word.startswith(PLUGINS)]
    overrides = [word for word in settings if "=" in word]
    assert set(settings) - set(overrides) <= {"--multirun", "--jobs", "2", "--help"}
    # The data set of the guide is run by a test of its own.
    if "data=my_images" not in overrides:
        check_overrides(under_current_keys(overrides))


@pytest.mark.parametrize("name", READMES)
def test_settings_that_it_names_exist(name):
    config = compose([])
    known = {f"{section}.{key}" for section in SECTIONS for key in config[section]}
    known |= {f"data.{key}" for options in data_sets().values() for key in options.__dataclass_fields__}
    named = re.findall(rf"`\+?((?:{'|'.join((*SECTIONS, 'data'))})\.\w+)(?:=[^`]*)?`", READMES[name])
    files = {"data.json", "data.root", "trainer.json", "trainer.log"}
    assert set(named) - known - files - {"trainer.detect_anomaly"} == set()


@pytest.mark.parametrize("name", READMES)
def test_links_and_files_that_it_names_exist(name):
    folder = (ROOT / name).parent
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", READMES[name]):
        assert (folder / link).exists(), link
    text = re.sub(r"```.*?```", "", READMES[name], flags=re.DOTALL)
    named = re.findall(r"`((?:dal|configs|benchmarks|scripts|tests)/[\w/.]*)`", text)
    for path in named:
        assert (ROOT / path).exists(), path
        if path.startswith("dal/") and path.endswith(".py"):
            importlib.import_module(path.removesuffix(".py").replace("/", ".").removesuffix(".__init__"))
    for script in re.findall(r"`(\w+\.py)`", text) if name.startswith("benchmarks") else []:
        assert (folder / script).exists(), script


def test_the_first_readme_is_short():
    """At most 200 lines and 1,800 words, as wc counts them."""
    text = READMES["README.md"]
    assert text.count("\n") <= 200 and len(text.split()) <= 1800


def test_its_map_names_every_folder_of_dal():
    folders = {path.parent.name for path in (ROOT / "dal").glob("*/__init__.py")}
    assert folders - set(re.findall(r"`dal/(\w+)/`", READMES["README.md"])) == set()


def test_its_commands_are_single_lines_that_the_ci_calls_as_they_stand():
    found = re.findall(r"^python3 -m venv .*$", READMES["README.md"], flags=re.MULTILINE)
    assert len(found) == 2 and found[0].endswith("dal run") and "pytest" in found[1]
    assert "grep -m 1 -E '^python3 -m venv .*pytest' README.md" in (ROOT / ".ci" / "run").read_text()
