"""dal run: a campaign from a configuration."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from dal.compose import check_overrides, compose, resolve
from dal.config import ROOT_NAME, build, config_folder, register
from dal.console import STOPPED, CampaignProgress, closing_table, round_line
from dal.distributed import is_rank_zero
from dal.errors import DalError
from dal.loop import run
from dal.records import RunFolder
from dal.report import report

_QUIET = ["hydra.output_subdir=null", "hydra/job_logging=disabled", "hydra/hydra_logging=disabled", "hydra.run.dir=."]
_SWEEP = ["hydra.sweep.dir=.", "hydra.sweep.subdir=."]


def run_command(arguments: list[str]) -> int:
    """Run one campaign, or with --multirun one for each point of the grid. Returns the exit status."""
    flags = [a for a in arguments if a.startswith("-")]
    if not flags:
        run_campaign(compose(arguments))
        return 0
    if not any(flag.startswith(("--config", "-c", "--help", "-h", "--info", "-i")) for flag in flags):
        check_overrides([a for a in arguments if not a.startswith("-")])
    return _with_hydra(arguments)


def run_campaign(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Start or resume the campaign of a resolved configuration, and show how it goes."""
    console = Console(quiet=not is_rank_zero(), highlight=False)
    built = build(config)
    splits = built.data.load()
    train, test = splits
    if train.set_aside:
        console.print(f"{len(train.set_aside)} images could not be read and were set aside.")
    with CampaignProgress(console, built.campaign.budget) as progress:
        learner = built.learner(splits, progress)
        folder = RunFolder(built.run_dir, config, train.fingerprint())
        try:
            done = len(folder.rows)
            console.print(
                f"[bold]{config['acquisition']['name']}[/] on {config['data']['name']}: {len(train):,} images in the "
                f"pool, {train.num_classes} classes, {'no test set' if test is None else f'{len(test):,} to test on'}"
            )
            if done:
                console.print(f"Resuming {folder.path} after round {folder.rows[-1]['round']}.")
            for row in folder.rows:
                console.print(round_line(row))
                progress.labels(row["labels_bought"])

            def on_round(row: Mapping[str, Any]) -> None:
                console.print(round_line(row))
                progress.labels(row["labels_bought"])

            rows = run(learner, built.oracle_for(splits), built.campaign, test=test, records=folder, on_round=on_round)
        except KeyboardInterrupt:
            console.print(f"Stopped after {len(folder.rows)} rounds. The same command goes on from there.")
            raise
        finally:
            folder.close()
    if is_rank_zero():
        _close(console, config, folder.path, rows)
    return rows


def _close(console: Console, config: Mapping[str, Any], path: Path, rows: list[dict[str, Any]]) -> None:
    last = rows[-1]
    console.print(f"\nDone, because {STOPPED[last['campaign_stopped']]}.")
    if len(rows) > 1 and "test_accuracy" in last:
        console.print(
            f"Test accuracy rose from {rows[0]['test_accuracy']:.1%} with {rows[0]['labels_bought']} labels to "
            f"{last['test_accuracy']:.1%} with {last['labels_bought']}."
            if last["test_accuracy"] > rows[0]["test_accuracy"]
            else f"Test accuracy did not rise: {rows[0]['test_accuracy']:.1%}, now {last['test_accuracy']:.1%}."
        )
    console.print(closing_table(rows))
    console.print(f"\nEverything is in [bold]{path}[/]: rounds.jsonl, selections.csv, config.yaml, tensorboard/.")
    if "test_accuracy" in last:
        report([path], path, Console(quiet=True))
        console.print(f"The learning curve is {path / 'learning_curve.png'}.")
    other = "random" if config["acquisition"]["name"] != "random" else "margin"
    experiment = [a for a in sys.argv[2:] if a.startswith("experiment=")]
    again = " ".join(["dal run", *experiment, f"acquisition={other}"])
    together = path.parent.parent if path.name == f"seed{config['seed']}" else path.parent
    console.print(
        "\nWhat to try next:\n"
        f"  {again:<50} what another function makes of it\n"
        f"  {'dal report ' + str(together):<50} both curves in one picture\n"
        f"  {'dal rank ' + str(path):<50} the rest of the pool, most useful first\n"
        f"  {'dal run --help':<50} all settings"
    )


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
    flags = [a for a in arguments if a.startswith("-")]
    sys.argv = ["dal run", *arguments, *_QUIET, *(_SWEEP if {"-m", "--multirun"} & set(flags) else [])]
    hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=ROOT_NAME)(task)()
    for line in failed:
        print(f"Failed: {line}", file=sys.stderr)
    return 1 if failed else 0
