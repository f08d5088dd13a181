"""Runs cells with a Hydra launcher, such as submitit or Ray.

A launcher starts a small task that runs a cell in a separate process. The task succeeds even if the cell fails, so that
no launcher stops the other cells. Only the commands and the paths of the logs are pickled.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from dal.config.folder import config_folder
from dal.config.overrides import check_launcher_name
from dal.errors import DalError
from dal.sweep.grid import Cell
from dal.sweep.process import cell_command, run_to_the_end

# By launcher: the Hydra plugin that it needs, and the extra of dal that installs the plugin.
_PLUGINS = {"slurm": ("submitit", "slurm"), "ray_cluster": ("ray", "ray")}
_TASK_NAME = "dal_cell"


def check_launcher(name: str) -> None:
    """Raise DalError for an unknown launcher, or if the package of a preset is missing."""
    if name not in _PLUGINS:
        check_launcher_name(name)
        return
    plugin, extra = _PLUGINS[name]
    if not _found(f"hydra_plugins.hydra_{plugin}_launcher"):
        package = f"hydra-{plugin}-launcher"
        raise DalError(
            f"hydra/launcher={name}: the package {package} is missing. Install it: pip install -e '.[{extra}]'."
        )


def launch(cells: Sequence[Cell], logs: Sequence[Path], launcher: Sequence[str], folder: Path) -> None:
    """Run these cells with a launcher, and wait for them.

    The cells must see the same paths. ``launcher`` are the overrides that choose and configure the launcher. It writes
    its own files to ``folder``.

    Raises DalError if the launcher itself fails. The cells that it started may still run.
    """
    commands = [list(cell.overrides) for cell in cells]
    files, here = [str(log.resolve()) for log in logs], str(Path.cwd())

    def task(config: DictConfig) -> None:
        run_one(commands[config.cell], files[config.cell], here)

    ConfigStore.instance().store(name=_TASK_NAME, node={"cell": 0})
    settings = ["hydra/hydra_logging=disabled", "hydra/job_logging=disabled", "hydra.output_subdir=null"]
    settings += ["hydra.job.name=dal", f"hydra.sweep.dir='{folder.resolve()}'", "hydra.sweep.subdir=."]
    chosen = ",".join(map(str, range(len(cells))))
    before, sys.argv = sys.argv, ["dal run", "--multirun", *settings, *launcher, f"cell={chosen}"]
    try:
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=_TASK_NAME)(task)()
    except SystemExit as error:  # Hydra has printed why
        raise DalError(
            f"{launcher[0]}: the launcher failed with exit status {error.code}. Its output is above."
        ) from None
    finally:
        sys.argv = before


def run_one(overrides: Sequence[str], log: str, folder: str) -> int:
    """Run one cell in a launcher's process, and return its exit status."""
    os.chdir(folder)
    environment = dict(os.environ)
    if "SLURM_JOB_ID" in environment:
        # These values stop Lightning from treating the job as its own launch, so it starts its own processes.
        environment |= {"SLURM_JOB_NAME": "bash", "SLURM_NTASKS": "1"}
    return run_to_the_end(cell_command(overrides), Path(log), environment)


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
