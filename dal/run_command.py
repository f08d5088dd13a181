"""dal run: a campaign from a configuration."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from dal.compose import check_overrides, compose, quoted, resolve
from dal.config import ROOT_NAME, build, config_folder, register
from dal.console import STOPPED, CampaignProgress, closing_table, round_line
from dal.distributed import is_rank_zero
from dal.errors import DalError
from dal.loop import run
from dal.records import RunFolder
from dal.report import report

_SETTINGS = [
    "hydra.job.name=dal run",
    "hydra.output_subdir=null",
    "hydra/job_logging=disabled",
    "hydra/hydra_logging=disabled",
    "hydra.run.dir=.",
]
_SWEEP_SETTINGS = ["hydra.sweep.dir=.", "hydra.sweep.subdir=."]
_ASK = ("--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--config-dir", "-cd", "--config-name", "-cn")


def run_command(arguments: list[str]) -> int:
    """Run one campaign, or with --multirun one for each point of the grid. Returns the exit status."""
    flags = [a for a in arguments if a.startswith("-")]
    arguments = [a if a.startswith("-") else quoted([a])[0] for a in arguments]
    overrides = [a for a in arguments if not a.startswith("-")]
    if not flags:
        run_campaign(compose(overrides), [a for a in overrides if a.startswith("experiment=")])
        return 0
    if not set(flags) & set(_ASK):
        check_overrides(overrides)
    return _with_hydra(arguments)


def run_campaign(config: Mapping[str, Any], experiment: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Start or resume the campaign of a resolved configuration, and show how it goes.

    ``experiment`` is how the command line chose it, for advice on what to try next; None gives no advice.
    """
    console = Console(quiet=not is_rank_zero(), highlight=False, soft_wrap=True)
    built = build(config)
    splits = built.data.load()
    train, test = splits
    with CampaignProgress(console, built.campaign.budget) as progress:
        learner = built.learner(splits, progress)
        folder = RunFolder(built.run_dir, config, train.fingerprint())

        def on_round(row: Mapping[str, Any]) -> None:
            console.print(round_line(row))
            progress.labels(row["labels_bought"])

        try:
            tested = "no test set" if test is None else f"{len(test):,} to test on"
            console.print(
                f"[bold]{config['acquisition']['name']}[/] on {config['data']['name']}: {len(train):,} images in the "
                f"pool, {train.num_classes} classes, {tested}"
            )
            if train.set_aside:
                console.print(f"{len(train.set_aside):,} images could not be read and are set aside.")
            if folder.rows:
                console.print(f"Resuming {folder.path} after round {folder.rows[-1]['round']}.")
            for row in folder.rows:
                on_round(row)
            rows = run(learner, built.oracle_for(splits), built.campaign, test=test, records=folder, on_round=on_round)
        except KeyboardInterrupt:
            console.print(f"Stopped after {len(folder.rows)} rounds. The same command goes on from there.")
            raise
        finally:
            folder.close()
    if is_rank_zero():
        _close(console, folder.path, rows)
        if experiment is not None:
            _advise(console, config, folder.path, experiment)
    return rows


def _close(console: Console, path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    first, last = rows[0], rows[-1]
    console.print(f"\nDone, because {STOPPED[last['campaign_stopped']]}.")
    if "test_accuracy" in last:
        verb = "rose" if last["test_accuracy"] > first["test_accuracy"] else "did not rise: it went"
        console.print(
            f"Test accuracy {verb} from {first['test_accuracy']:.1%} with {first['labels_bought']:,} labels to "
            f"{last['test_accuracy']:.1%} with {last['labels_bought']:,}.\n"
        )
    console.print(closing_table(rows))
    console.print(f"\nEverything is in [bold]{path}[/]: rounds.jsonl, selections.csv, config.yaml, tensorboard.")
    if "test_accuracy" in last:
        report([path], path, Console(quiet=True))
        console.print(f"The learning curve is {path / 'learning_curve.png'}")


def _advise(console: Console, config: Mapping[str, Any], path: Path, experiment: Sequence[str]) -> None:
    other = "random" if config["acquisition"]["name"] != "random" else "margin"
    together = path.parent.parent if path.name == f"seed{config['seed']}" else path.parent
    advice = {
        " ".join(["dal run", *experiment, f"acquisition={other}"]): "what another function makes of it",
        f"dal report {together}": "all curves in one picture",
        f"dal rank {path}": "the rest of the pool, most useful first",
        "dal run --help": "all settings",
    }
    width = max(map(len, advice))
    console.print("\nWhat to try next:")
    for command, what in advice.items():
        console.print(f"  {command:<{width}}   {what}")


def _with_hydra(arguments: list[str]) -> int:
    """Sweeps, --help, --cfg and the like are Hydra's."""
    import hydra

    failed: list[str] = []

    def task(config: DictConfig) -> None:
        resolved = resolve(config)
        try:
            run_campaign(resolved)
        except DalError as error:
            failed.append(f"{resolved['run_dir']}: {error}")
            print(f"Error: {error}", file=sys.stderr)

    register()
    sweep = {"-m", "--multirun"} & set(arguments)
    sys.argv = ["dal run", *arguments, *_SETTINGS, *(_SWEEP_SETTINGS if sweep else [])]
    hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=ROOT_NAME)(task)()
    for line in failed:
        print(f"Failed: {line}", file=sys.stderr)
    return 1 if failed else 0
