"""The launchers are what a shell can read, and pass on what they are given."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.mark.parametrize("name", sorted(p.name for p in SCRIPTS.iterdir() if p.suffix in (".sh", ".sbatch")))
def test_launchers_are_executable_and_pass_their_arguments_on(name, tmp_path):
    script = SCRIPTS / name
    assert os.access(script, os.X_OK)
    for command in ("dal", "torchrun"):
        (tmp_path / command).write_text(f'#!/bin/sh\necho {command} "$@"\n')
        (tmp_path / command).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GPUS": "3", "SLURM_ARRAY_TASK_ID": "6"}
    done = subprocess.run(
        [script, "experiment=cifar10", "model.lr=0.2"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("experiment=cifar10 model.lr=0.2")
    if "multi" in name:
        assert "--nproc-per-node 3 -m dal run" in done.stdout and "trainer.devices=3" in done.stdout
    if "slurm" in name:
        assert "acquisition=bald seed=1" in done.stdout
