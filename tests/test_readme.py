"""The README's code runs as it stands there."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torchvision
from torch import nn
from torch.utils.data import TensorDataset

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)


def block(start):
    (found,) = [b for b in BLOCKS if start in b]
    return found


class MyModule(pl.LightningModule):
    """Somebody's module: its own training_step, forward and optimizer."""

    def __init__(self):
        super().__init__()
        self.model = torchvision.models.resnet18(weights=None)
        self.model.conv1 = nn.Conv2d(1, 64, 3, padding=1, bias=False)
        self.model.fc = nn.Linear(512, 10)
        self.steps = 0

    def forward(self, x):
        return self.model(x).softmax(dim=1)

    def training_step(self, batch, batch_idx):
        self.steps += 1
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def test_the_lines_for_a_project_of_ones_own(monkeypatch, capsys, tmp_path):
    g = torch.Generator().manual_seed(0)
    dataset = TensorDataset(torch.rand(150, 1, 8, 8, generator=g), torch.randint(0, 10, (150,), generator=g))
    project = types.ModuleType("my_project")
    project.MyModule, project.train_set, project.plain_set = MyModule, dataset, dataset
    monkeypatch.setitem(sys.modules, "my_project", project)
    code = block("from my_project import").replace("max_updates=500", "max_updates=3, min_updates=1")
    scope = {}
    exec(compile(code, "README.md", "exec"), scope)
    learner = scope["learner"]
    assert learner.pool.num_labeled == 100 and learner.model.module.steps == 15
    monkeypatch.chdir(tmp_path)
    campaign = block("RunFolder(").replace("seed=1)", "seed=1, training=TrainingConfig(max_updates=3, min_updates=1))")
    exec(compile(campaign, "README.md", "exec"), scope)
    assert scope["rows"][-1]["num_labeled"] == 60 and (tmp_path / "runs" / "mine" / "selections.csv").exists()
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["20", "40", "60", "80", "100"]


def test_a_function_is_one_file_and_one_test_file(tmp_path):
    """In a copy of the package: found by its name, run by the command line, tested by the conformance test."""
    shutil.copytree(ROOT / "dal", tmp_path / "dal", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    for name in ("acquisition", "helpers"):
        shutil.copytree(ROOT / "tests" / name, tmp_path / "tests" / name)
    for code in (block("# dal/acquisition/mc_entropy.py"), block("# tests/acquisition/test_mc_entropy.py")):
        (tmp_path / code.splitlines()[0].removeprefix("# ")).write_text(code, encoding="utf-8")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    tests = [f"tests/acquisition/test_{name}.py" for name in ("mc_entropy", "conformance")]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "mc_entropy", *tests, "-v"]
    tested = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert int(re.search(r"(\d+) passed", tested.stdout)[1]) > 5, tested.stdout
    settings = [
        "acquisition=mc_entropy",
        "acquisition.num_draws=3",
        "campaign.budget=40",
        "training.max_updates=100",
    ]
    run = [sys.executable, "-m", "dal", "run", *settings, f"run_dir={tmp_path / 'run'}"]
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "mc_entropy on digits" in done.stdout


def test_commands_are_single_lines_that_the_ci_calls_as_they_stand():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python3 -m venv .*$", text, flags=re.MULTILINE)
    assert len(commands) == 2 and commands[0].endswith("dal run") and "pytest" in commands[1]
    assert "grep -m 1 -E '^python3 -m venv .*pytest' README.md" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("name", re.findall(r"`(dal/[\w/]+\.py)`", (ROOT / "README.md").read_text(encoding="utf-8")))
def test_files_it_names_exist(name):
    assert (ROOT / name).exists()
    importlib.import_module(name.removesuffix(".py").replace("/", "."))
