"""Compare acquisition functions with random in a regime of the literature.

    python benchmarks/acquisition_functions.py low_budget digits --seeds 10
    python benchmarks/acquisition_functions.py redundant_pool digits --functions random bald batchbald power_bald badge
    python benchmarks/acquisition_functions.py medium_budget fashion_mnist --set data.max_train=5000

The regime is a preset of configs/benchmark. The command runs the missing runs of the grid with ``dal run --multirun``,
one thread per run. ``dal compare`` then writes its page and tables next to the runs. The numbers as CSV and the
learning curves are written to a dated folder of benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from campaigns import commits, first_start
from record import RESULTS, dated, facts_now
from rich.console import Console

from dal.acquisition import registry
from dal.reports.comparison import compare
from dal.runs.files.atomic import write_text

# The page is 5 MB, most of it Plotly; ``dal compare`` can recreate it from the runs.
KEPT = (".csv", ".png")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("regime", help="a preset of configs/benchmark, such as low_budget")
    parser.add_argument("experiment", help="an experiment of configs/experiment, such as digits or fashion_mnist")
    parser.add_argument("--functions", nargs="+", metavar="NAME", help="all by default")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="overrides for all runs")
    parser.add_argument("--name", help="name of the run and result folders, with --set (default: REGIME_EXPERIMENT)")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to SEEDS - 1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time")
    parser.add_argument("--runs", type=Path, default=Path("runs/acquisition_functions"), help="folder of the runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()

    functions = options.functions or sorted(registry())
    folder = options.runs / (options.name or f"{options.regime}/{options.experiment}")
    # Recorded before writing, because results make the working tree dirty.
    facts = facts_now(threads_a_run=1, runs_at_a_time=options.jobs, seeds=list(range(options.seeds)))
    sweep = [
        *("run", "--multirun", f"benchmark={options.regime}", f"experiment={options.experiment}", *options.set),
        *(f"acquisition={','.join(functions)}", f"seed=range({options.seeds})"),
        *(f"run_dir={folder}/${{acquisition.name}}/seed${{seed}}", "--jobs", str(options.jobs)),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if status := subprocess.run([sys.executable, "-m", "dal", *sweep], env=environment).returncode:
        return status
    target = dated(options.results, options.name or f"{options.regime}_{options.experiment}")
    wanted = [folder / name / f"seed{seed}" for name in functions for seed in range(options.seeds)]
    console = Console(record=True, width=110)
    written = compare(wanted, folder / "compare", console)
    for path in written:
        if path.suffix in KEPT:
            shutil.copyfile(path, target / path.name)
    tables = without_paths(console.export_text(), written)
    facts |= {"runs": len(wanted), "first_run_started": first_start(wanted), "commits_of_the_runs": commits(wanted)}
    write_text(
        target / "README.md",
        README.format(
            title=f"{options.regime}, {options.experiment}",
            runs=folder.as_posix(),
            tables=tables,
            facts=json.dumps(facts, indent=1),
            command=facts["command"],
        ),
    )
    print(f"Written: {target}")
    return 0


def without_paths(text: str, paths: Sequence[Path]) -> str:
    """Return the text without the lines that name one of the paths."""
    kept = [line for line in text.splitlines() if not any(str(path) in line for path in paths)]
    return "\n".join(kept).rstrip()


README = """# Acquisition functions: {title}

The runs of the command below are in `{runs}`. `dal compare {runs}` writes a
page with all curves and tables.

```sh
{command}
```

```text
{tables}
```

![Learning curves](learning_curves.png)

```json
{facts}
```
"""


if __name__ == "__main__":
    sys.exit(main())
