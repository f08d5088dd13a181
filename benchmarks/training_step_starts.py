"""The start and the whole of a small `dal run`, in new processes, for training_step.py.

This module has no command: see training_step.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness import Row
from training_step_cases import rows_of

OWN = Path(__file__).parent.parent
_IMPORTS = "import torch, pytorch_lightning, hydra"
_RUN = """
import sys, tempfile
from dal.cli.main import main
sys.argv = ["dal", "run", "experiment=digits", f"run_dir={tempfile.mkdtemp()}/run", "trainer.accelerator=cpu",
            "training.min_updates=1", "training.max_updates=1", "campaign.budget=BUDGET"]
"""
_WHOLE = """
try:
    main()
finally:
    end()
"""
_FIRST_UPDATE = """
from torch.optim.optimizer import register_optimizer_step_post_hook
def stepped(*_):
    end()
    os._exit(0)
register_optimizer_step_post_hook(stepped)
"""
_HYDRA_ALONE = f"""
{_IMPORTS}
from dal.config.folder import config_folder
from dal.config.schema import ROOT_NAME, register
register()
start()
with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
    hydra.compose(ROOT_NAME, ["experiment=digits"])
end()
"""
_COMPOSE = """
from dal.config.overrides import compose
from dal.config.schema import build
start()
build(compose(["experiment=digits"]))
end()
"""

CASES: dict[str, tuple[str, str, str]] = {
    "compose experiment=digits": ("Hydra alone", _HYDRA_ALONE, _COMPOSE),
    "imports": ("torch, Lightning and Hydra", f"{_IMPORTS}\nend()", "import dal.cli.run\nend()"),
    "from the command to the first update": (
        "imports of torch, Lightning and Hydra",
        f"{_IMPORTS}\nend()",
        f"{_FIRST_UPDATE}\n{_RUN.replace('BUDGET', '20')}\nmain()",
    ),
    "one round of one update": (
        "imports of torch, Lightning and Hydra",
        f"{_IMPORTS}\nend()",
        f"{_RUN.replace('BUDGET', '20')}\n{_WHOLE}",
    ),
    "ten rounds of one update": (
        "imports of torch, Lightning and Hydra",
        f"{_IMPORTS}\nend()",
        f"{_RUN.replace('BUDGET', '200')}\n{_WHOLE}",
    ),
}
"""The name of the floor, its program, and that of dal, by case. A program ends with the call of end()."""

_CLOCK = """
import os, time
begin = 0.0
def spent():
    times = os.times()
    return time.process_time() + times.children_user + times.children_system
def start():
    global begin
    begin = spent()
def end():
    print(f"\\nMILLISECONDS {1000 * (spent() - begin)}", flush=True)
"""


def starts(repeats: int, quick: bool, before: tuple[str, Path] | None = None) -> list[Row]:
    """Return the CPU milliseconds of new processes by case and contender."""
    rows: list[Row] = []
    for title, (name, floor, program) in list(CASES.items())[: 1 if quick else None]:
        contenders = {f"floor, {name}": (floor, OWN), "dal": (program, OWN)}
        if before is not None:
            contenders[before[0]] = (program, before[1])
        taken: dict[str, list[float]] = {}
        for _ in range(repeats):
            for contender, (text, folder) in contenders.items():
                taken.setdefault(contender, []).append(_milliseconds(text, folder))
        rows += rows_of(title, taken)
    return rows


def _milliseconds(program: str, folder: Path) -> float:
    """Return the CPU milliseconds that a program prints, with those of its children."""
    environment = os.environ | {"PYTHONPATH": str(folder.resolve())}
    command = [sys.executable, "-c", f"{_CLOCK}\n{program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("MILLISECONDS")]
    return float(line.split()[1])
