"""`dal run`: runs a campaign from a configuration."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from dal import __version__
from dal.campaign import run
from dal.cli.advice import advise
from dal.cli.failures import explanation
from dal.cli.flags import check_package, one_sentence, parse_flags, printed_package
from dal.cli.run_data import data_in_words, load_for_run, unit_word
from dal.cli.terminal import CampaignProgress, change_sentence, closing_table, round_line
from dal.config.folder import config_folder
from dal.config.overrides import check_overrides, compose, quoted, under_current_keys, with_own_files
from dal.config.schema import ROOT_NAME, Built, build, register
from dal.config.trainer import with_objects
from dal.config.trusted_files import remember
from dal.config.values.resolve import resolve
from dal.costs.kinds import KINDS
from dal.costs.prices import PricesConfig
from dal.data.images import ImageSplits
from dal.errors import DalError, bad_content, bad_value
from dal.loop import ActiveLearner
from dal.runs.files.state import read_state
from dal.runs.final_model import read_final_model
from dal.runs.folder import RunFolder
from dal.runs.layout import CONFIG, STATE
from dal.runs.round import Round, in_words, on_test
from dal.runs.saved_config import check_same_config
from dal.runs.stopped import why_stopped
from dal.runtime.console import SafeConsole
from dal.runtime.distributed import is_rank_zero
from dal.runtime.safe_text import visible
from dal.tasks import CLASSIFICATION
from dal.training.final_model import final_model_sentence, finish_final_model, new_final_model
from dal.training.trainer.lightning import termination
from dal.training.trainer.trainer_options import check_trainer_options

_SETTINGS = [
    "hydra.job.name=dal run",
    "hydra.output_subdir=null",
    "hydra/job_logging=disabled",
    "hydra/hydra_logging=disabled",
    "hydra.run.dir=.",
]
_OF_HYDRA = ("hydra.", "hydra/")
_GRID = ("--multirun", "-m")
_SHOW = ("--cfg", "-c", "--info", "-i", "--hydra-help")
_ASK = (*_SHOW, "--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")


def run_command(arguments: list[str]) -> int:
    """Run one campaign or a grid, and return the exit status.

    With --multirun, only the unfinished cells of the grid run.
    """
    arguments = [a if a.startswith("-") else under_current_keys(quoted([a]))[0] for a in arguments]
    flags = [a for a in arguments if a.startswith("-")]
    if not flags:
        run_campaign(compose(arguments), arguments)
        return 0
    # Hydra requires the overrides in one block. An argument that is neither a flag nor an override is a flag's value.
    overrides = [a for a in arguments if not a.startswith("-") and ("=" in a or a.startswith("~"))]
    others = [a for a in arguments if a not in overrides]
    if {flag.partition("=")[0] for flag in flags} & set(_ASK):
        parsed = parse_flags(others)
        _check_asked(overrides, parsed, flags)
        with printed_package(parsed.package):
            return _with_hydra(overrides, others)
    jobs = _jobs(others)
    ours = [a for a in overrides if not a.lstrip("+~").startswith(_OF_HYDRA)]
    launcher = [a for a in overrides if a.startswith(("hydra/launcher=", "hydra.launcher."))]
    if not set(others) <= set(_GRID) or len(ours) + len(launcher) < len(overrides):
        if parse_flags(others).version:
            print(f"dal {__version__}")
            return 0
        check_overrides([a for a in arguments if not a.startswith("-")])
        return _with_hydra(overrides, others)
    launcher.sort(key=lambda a: not a.startswith("hydra/launcher="))
    if launcher and not launcher[0].startswith("hydra/launcher="):
        raise bad_content(launcher[0].partition("=")[0], "hydra/launcher=NAME on the same command line", "none")
    # Loads the table of runs, which needs pandas, and one run starts without it.
    from dal.sweep.command import sweep_command

    return sweep_command(ours, jobs, launcher)


def _check_asked(overrides: list[str], parsed: argparse.Namespace, flags: list[str]) -> None:
    """Raise DalError if Hydra cannot show a configuration for these overrides."""
    if any(given is not None for given in (parsed.config_dir, parsed.config_name, parsed.config_path)):
        return  # a user's configuration, whose keys dal does not know
    if parsed.multirun:
        shown = [flag for flag in flags if flag.partition("=")[0] in _SHOW]
        if shown:
            raise bad_content(shown[0], "no --multirun on the same command line", "both")
        check_overrides(overrides)
    else:
        config = compose([a for a in overrides if not a.lstrip("+~").startswith(_OF_HYDRA)])
        if parsed.cfg == "job":
            check_package(parsed.package, config)


def _jobs(flags: list[str]) -> int:
    """Remove ``--jobs N`` from the flags and return N."""
    jobs = 1
    for place, flag in reversed(list(enumerate(flags))):
        name, equals, value = flag.partition("=")
        if name in ("--jobs", "-j"):
            if not equals:
                value = flags.pop(place + 1) if place + 1 < len(flags) else ""
            del flags[place]
            if not (value.isascii() and value.isdecimal() and len(value) < 10):
                raise bad_value("--jobs", "the number of runs at a time, such as --jobs 2", value)
            jobs = int(value)
    return jobs


def run_campaign(config: Mapping[str, Any], overrides: Sequence[str] | None = None) -> list[Round]:
    """Start or resume a campaign, and print its progress.

    ``overrides`` are those of the configuration. The advice on what to try next repeats them. None prints no advice.
    """
    console = SafeConsole(quiet=not is_rank_zero(), soft_wrap=True)
    built = build(config)
    _check_resumable(Path(built.run_dir), config)
    built = replace(built, trainer=with_objects(built.trainer))
    if "file" in config["acquisition"]:
        remember(config["acquisition"]["file"])
    check_trainer_options(built.trainer)
    splits = load_for_run(built, Path(built.run_dir))
    cost, unit = built.campaign.cost, unit_word(splits.train)
    counted = unit if cost == "units" else KINDS[cost].plural
    with (
        CampaignProgress(console, built.campaign.budget, counted) as progress,
        ExitStack() as until_done,
        termination(),
    ):
        learner, oracle = built.learner(splits, progress), built.oracle_for(splits, progress)
        metric = splits.train.task.primary_metric

        def on_round(row: Round) -> None:
            console.print(round_line(row, metric, unit))
            progress.labels(row.spent(cost))

        def open_folder() -> RunFolder:
            if built.model.final_backbone is not None:
                new_final_model(built.model, splits.train, built.seed)  # raises if the model cannot be built
            folder = RunFolder(built.run_dir, config, splits.fingerprint())
            until_done.enter_context(_in_use(folder, console))
            _describe(console, config, splits, folder)
            _tell_what_happened(console, folder, built.model.final_backbone is not None)
            for row in folder.rows:
                on_round(row)
            return folder

        # run() checks the settings before it opens the folder, so invalid settings create no folder.
        rows = run(
            learner,
            oracle,
            built.campaign,
            test=splits.test,
            records=open_folder,
            prices=built.prices,
            on_round=on_round,
            diagnosis=built.diagnosis,
        )
        final = _final_model(built, learner, splits)
    if is_rank_zero():
        path = Path(built.run_dir)
        _close(console, path, rows, final, built.prices, metric, unit)
        if overrides is not None:
            advise(console, config, path, overrides)
    return rows


def _check_resumable(path: Path, config: Mapping[str, Any]) -> None:
    """Raise DalError for the folder of a run with other settings, before the images are read."""
    if os.path.lexists(path / STATE) and read_state(path)["rounds"]:
        check_same_config(path / CONFIG, config)


@contextmanager
def _in_use(folder: RunFolder, console: Console) -> Iterator[None]:
    """Close the folder on exit, and report progress after a signal."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C or SIGTERM
        console.print(f"Stopped after {len(folder.rows)} rounds. The same command resumes the run.")
        raise
    finally:
        folder.close()


def _describe(console: Console, config: Mapping[str, Any], splits: ImageSplits, folder: RunFolder) -> None:
    """Describe the data on the console and in the folder."""
    train, test = splits
    about = f" on {config['data']['name']}: {data_in_words(splits, config['campaign']['test_size'])}"
    console.print(Text.assemble((config["acquisition"]["name"], "bold"), visible(about)))
    if train.task.name != CLASSIFICATION.name and config.get("diagnosis", {}).get("record", True):
        console.print(f"Nothing is recorded for diagnosis, because images have {train.task.labels_in_words}.")
    folder.describe_data(
        {"name": train.name, "classes": list(train.classes), "images": len(train)}
        | {"test_images": 0 if test is None else len(test), "set_aside": dict(train.set_aside)}
        | {"first_frames": list(train.first_frames)}
    )


def _tell_what_happened(console: Console, folder: RunFolder, has_final_model: bool) -> None:
    if folder.stage == "done":
        pending = has_final_model and read_final_model(folder.path) is None
        but = ", except for its final model" if pending else ""
        console.print(f"{folder.path} is already finished{but}. Its rounds:")
    elif folder.rows:
        console.print(f"Resuming {folder.path} after round {folder.rows[-1]['round']}.")


def _final_model(built: Built, learner: ActiveLearner, splits: ImageSplits) -> Round | None:
    """Train the final model, if there is one, and return its row."""
    if built.model.final_backbone is None:
        return None
    labeled = learner.pool.labeled
    return finish_final_model(
        Path(built.run_dir),
        built.model,
        learner.setup,
        splits.train,
        (labeled, learner.pool.labels(labeled)),
        learner.validation,
        test=splits.test,
    )


def _close(
    console: Console,
    path: Path,
    rows: Sequence[Round],
    final: Round | None,
    prices: PricesConfig,
    metric: str,
    unit: str,
) -> None:
    last, key = rows[-1], on_test(metric)
    console.print(f"\nDone, because {why_stopped(last['campaign_stopped'])}.")
    tested = [row for row in rows if key in row]
    if len(tested) > 1:
        console.print(f"{change_sentence(tested[0], tested[-1], metric, unit)}\n")
    elif not tested:
        console.print(f"The {in_words(metric)} is not known, because the run has no test set.\n")
    # The costs of a campaign include those of its final model.
    console.print(closing_table(rows if final is None else [*rows, final], prices, unit))
    files = ": rounds.jsonl, selections.csv, config.yaml, tensorboard."
    console.print(Text.assemble("\nResults are in ", (visible(str(path)), "bold"), files))
    if key in last:
        from dal.reports.overview import report  # loads pandas, which the start of a run need not wait for

        report([path], path, SafeConsole(quiet=True))
        console.print(f"Learning curve: {path / 'learning_curve.png'}. Bills: {path / 'bills.png'}.")
    if final is not None:
        console.print(final_model_sentence(final, metric))


def _with_hydra(overrides: list[str], flags: list[str]) -> int:
    """Let Hydra handle flags such as ``--cfg``, and sweeps with other sweepers."""
    import hydra

    failed: list[str] = []
    raised: list[Exception] = []

    def task(config: DictConfig) -> None:
        resolved = resolve(config)
        try:
            run_campaign(resolved)
        except Exception as error:  # noqa: BLE001  a crash of one run must not stop the others
            if not set(flags) & set(_GRID):
                raised.append(error)  # Hydra adds lines to an error that reaches it
                return
            explained = (str(error), 2) if isinstance(error, DalError) else explanation(error)
            if explained is None:
                traceback.print_exc()
                explained = (str(error), 1)
            failed.append(f"{resolved['run_dir']}: {explained[0]}")
            print(f"Error: {visible(explained[0])}", file=sys.stderr)

    register()
    # Hydra writes a file about each sweep. Discard it, because the run folders contain the same information and more.
    with tempfile.TemporaryDirectory() as notes, one_sentence():
        settings = [*_SETTINGS, f"hydra.sweep.dir={notes}", "hydra.sweep.subdir=."]
        sys.argv = ["dal run", *settings, *with_own_files(overrides), *flags]
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=ROOT_NAME)(task)()
    if raised:
        raise raised[0]
    for line in failed:
        print(f"Failed: {visible(line)}", file=sys.stderr)
    return 1 if failed else 0
