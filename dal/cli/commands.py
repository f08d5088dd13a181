"""Parses the command line and runs the command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from dal.cli.arguments import parse, run_and_overrides
from dal.cli.explain_arguments import add_explain, is_refit
from dal.cli.parser import Parser, number, one_of, whole_number
from dal.cli.people_arguments import add_people
from dal.errors import DalError, unknown_choice

_EPILOG = """examples:
  dal run                                                   active learning on handwritten digits, a minute
  dal run experiment=fashion_mnist acquisition=badge seed=1
  dal run --multirun acquisition=random,margin 'seed=range(3)' --jobs 2     a grid, two runs at a time
  dal run --multirun acquisition=margin,my_function.py seed=0,1             with a function in your own file
  dal report runs                                           compare all runs in a folder
  dal report runs --target 0.95 --prices label=0.1 gpu_hour=2     labels and money to reach an accuracy
  dal compare runs                                          statistics of acquisition functions, and an HTML page
  dal explain runs/digits/margin/seed0                      what a run learned and lost, and what to collect next
  dal explain runs/digits/margin/seed0 --refit width=2      is its network too narrow? A training that tells
  dal rank runs/digits/margin/seed0 acquisition=bald        what to label next
  dal order runs/digits/margin/seed0                        the same labels in other orders: did the order matter?
  dal label photos --classes cat,dog,bird                   label your images on a page while a model trains
  dal ask runs/label/photos --output ask.csv                what people are asked, as a file (dal tell takes it back)
  dal replay runs/label/photos                              the same picks and weights again, from the answers
"""


Command = Callable[[], int]


def command_of(arguments: list[str]) -> Command:
    """Import what the command needs, and return it. It returns its exit status."""
    # Each command imports only what it needs: PyTorch and Lightning take seconds to load.
    if arguments[:1] == ["run"]:  # its arguments are Hydra's, not argparse's
        if {"--help", "-h"} & set(arguments):
            from dal.cli.help import help_command

            return lambda: help_command(arguments[1:])
        from dal.cli.early import refuse_other_settings

        refuse_other_settings(arguments[1:])
        _say_what_loads()
        from dal.cli.run import run_command

        return lambda: run_command(arguments[1:])
    options = parse_command(arguments)
    if options.command in _READERS and not is_refit(options):
        return _reader(options)
    if options.command in _PEOPLE:
        return _of_people(options)
    _say_what_loads()
    if options.command == "replay":
        from dal.cli.replay import replay_command

        return lambda: replay_command(options.run, options.to)
    if options.command == "order":
        from dal.cli.order import order_command

        return _done(lambda: order_command(options.run, options.seeds, options.orders))
    if options.command == "explain":
        from dal.cli.refit import refit_command

        seeds = 3 if options.seeds is None else options.seeds
        return _done(lambda: refit_command(options.run, options.refit, seeds))
    from dal.cli.rank import rank_command

    run, overrides = run_and_overrides(options.run)
    return _done(lambda: rank_command(run, overrides, options.pool, options.top, options.output, options.format))


def _done(call: Callable[[], object]) -> Command:
    """Return a command that ends with status 0."""

    def command() -> int:
        call()
        return 0

    return command


_READERS = ("compare", "explain", "report")


def _reader(options: argparse.Namespace) -> Command:
    """Return a command that reads run folders and trains nothing."""
    if options.command == "compare":
        from dal.config.settings import preset_keys
        from dal.reports.comparison import compare
        from dal.runs.saved_config import current_keys

        return _done(
            lambda: compare(
                options.runs,
                options.output,
                targets=options.target,
                x=options.x,
                baseline=options.baseline,
                common_seeds=options.common_seeds,
                common_labels=options.common_labels,
                vary=current_keys(options.vary),
                across=current_keys(options.across),
                presets=preset_keys(),
            )
        )
    if options.command == "explain":
        from dal.cli.explain import explain_command

        if options.images:
            _say_what_loads()
        return lambda: explain_command(options.run, options.output, options.images, options.watch)
    from dal.costs.prices import parse_prices
    from dal.reports.overview import report

    prices = parse_prices(options.prices) if options.prices else None
    return _done(lambda: report(options.runs, options.output, prices=prices, target=options.target, x=options.x))


_PEOPLE = ("ask", "label", "tell")


def _of_people(options: argparse.Namespace) -> Command:
    """Return a command of people who label."""
    if options.command == "label":
        from dal.cli.label import label_command

        return lambda: label_command(options)
    from dal.cli.ask import ask_command, tell_command

    if options.command == "ask":
        return _done(lambda: ask_command(options.run, options.size, options.format, options.output, options.files))
    return _done(lambda: tell_command(options.run, options.file, options.annotator, options.format, options.dry_run))


def _say_what_loads() -> None:
    """Explain the delay on standard error.

    Standard output must contain only the configuration, because programs read the output of --cfg.
    """
    ranks = {os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID")}
    if "pytorch_lightning" not in sys.modules and ranks == {"0"}:
        print("Loading PyTorch and Lightning ...", file=sys.stderr, flush=True)


def parse_command(arguments: list[str]) -> argparse.Namespace:
    """Parse the arguments of any command except `dal run`."""
    parser = _parser()
    commands: dict[str, argparse.ArgumentParser] = next(
        action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    if not arguments:
        raise DalError(f"dal: expected a command, one of {', '.join(commands)}, got none. See dal --help.")
    if arguments[0] not in commands:
        if not arguments[0].startswith("-"):
            raise unknown_choice("dal", commands, arguments[0])
        return parser.parse_args(arguments)
    options = parse(commands[arguments[0]], arguments[1:])
    options.command = arguments[0]
    return options


def _parser() -> argparse.ArgumentParser:
    from dal import __version__

    parser = Parser(
        prog="dal",
        description="Deep active learning on images.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"dal {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="start a campaign, or resume the one in run_dir (dal run --help: all settings)")
    rank = commands.add_parser("rank", help="rank a pool from most to least useful with the model of a run, as CSV")
    rank.usage = "dal rank RUN [KEY=VALUE ...] [--pool FOLDER] [--top N] [--format FORMAT] [--output FILE]"
    rank.add_argument("run", nargs="+", metavar="RUN KEY=VALUE", help="run folder, and changes to its configuration")
    rank.add_argument("--pool", metavar="FOLDER", help="rank the images of this folder (runs on a folder)")
    rank.add_argument("--top", type=whole_number, metavar="N", help="write only the N most useful images")
    what = "csv, or coco: JSON with the boxes in the image files, for CVAT and Label Studio (default: csv)"
    rank.add_argument("--format", type=one_of("csv", "coco"), default="csv", metavar="{csv,coco}", help=what)
    what = "output file (default: RUN/ranking_NAME.csv, or .json; with --pool, RUN/ranking_NAME_of_FOLDER.csv)"
    rank.add_argument("--output", metavar="FILE", help=what)
    report = commands.add_parser("report", help="table, learning curves and bills of runs")
    report.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or folders that contain some")
    report.add_argument("--output", metavar="FOLDER", help="output folder (default: the folder that contains the runs)")
    report.add_argument(
        "--prices",
        nargs="+",
        action="extend",
        metavar="NAME=NUMBER",
        help="label=, label_hour=, gpu_hour=, kwh= and currency=, for all runs (default: those of the configurations)",
    )
    report.add_argument(
        "--target",
        type=number("a share, such as 0.95"),
        metavar="SHARE",
        help="show the labels and money to reach this test accuracy, such as 0.95 (default: campaign.target)",
    )
    _add_axis(report)
    add_explain(commands.add_parser("explain", help="what a run learned and lost and what to collect next, as a page"))
    order = commands.add_parser("order", help="train the labels of a run in other orders, and compare the accuracies")
    order.add_argument("run", metavar="RUN", help="run folder")
    order.add_argument("--seeds", type=whole_number, default=10, metavar="N", help="trainings per order (default: 10)")
    order.add_argument(
        "--orders",
        nargs="+",
        action="extend",
        default=[],
        metavar="ORDER",
        help="acquired, reversed, easy_first, hard_first, by_class, at_once (default: all; random is always there)",
    )
    _add_compare(commands.add_parser("compare", help="statistics of acquisition functions that share their seeds"))
    add_people(commands)
    return parser


def _add_axis(command: argparse.ArgumentParser) -> None:
    what = "units (labels), images, pixels, clicks or seconds (default: campaign.cost)"
    command.add_argument("--x", metavar="COST", help=f"axis of the curves: {what}")


def _add_compare(compare: argparse.ArgumentParser) -> None:
    compare.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or folders that contain some")
    compare.add_argument("--output", metavar="FOLDER", help="output folder (default: compare, next to the runs)")
    compare.add_argument(
        "--target",
        nargs="+",
        action="extend",
        type=number("a share, such as 0.95"),
        default=[],
        metavar="SHARE",
        help="test accuracies to reach, such as 0.9 0.95 (default: the last mean accuracy of the baseline)",
    )
    compare.add_argument(
        "--baseline", metavar="FUNCTION", help="function that the others are compared with (default: random)"
    )
    _add_axis(compare)
    compare.add_argument(
        "--common-seeds", action="store_true", help="ignore seeds that a function lacks, instead of failing"
    )
    compare.add_argument(
        "--common-labels",
        action="store_true",
        help="compare up to the labels that all runs have, instead of failing on unfinished runs",
    )
    for name, what in (
        ("vary", "that are part of the compared functions"),
        ("across", "that define separate problems"),
    ):
        compare.add_argument(
            f"--{name}",
            nargs="+",
            action="extend",
            default=[],
            metavar="KEY",
            help=f"keys of the configuration, or compute, experiment or benchmark, {what} (default: none)",
        )
