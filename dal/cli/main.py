"""The command line: thin, no logic."""

from __future__ import annotations

import argparse
import os
import sys
import warnings

_EPILOG = """examples:
  dal run                                                   active learning on handwritten digits, a minute
  dal run experiment=fashion_mnist acquisition=badge seed=1
  dal run --multirun acquisition=random,margin 'seed=range(3)' --jobs 2     a grid, two runs at a time
  dal run --multirun acquisition=margin,my_function.py seed=0,1             with a function in a file of your own
  dal report runs                                           compare everything below a folder
  dal report runs --target 0.95 --prices label=0.1 gpu_hour=2     what an accuracy takes, in labels and money
  dal compare runs                                          statistics of acquisition functions, and a page
  dal rank runs/digits/margin/seed0 acquisition=bald        what to label next
"""


def main(arguments: list[str] | None = None) -> None:
    """Exit status: 0 done, 1 a campaign of a sweep failed, 2 bad input, 3 labels are awaited, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    from dal.errors import DalError, WaitingForAnswers

    warnings.formatwarning = lambda message, *where, **more: f"Warning: {message}\n"

    try:
        status = _dispatch(arguments)
        sys.stdout.flush()
        sys.exit(status)
    except WaitingForAnswers as waiting:
        print(waiting)
        sys.exit(3)
    except DalError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)


def _dispatch(arguments: list[str]) -> int:
    # What a command does not need is not imported: PyTorch and Lightning take seconds.
    if arguments[:1] == ["run"]:  # its arguments are Hydra's, not argparse's
        if {"--help", "-h"} & set(arguments):
            from dal.cli.help import help_command

            return help_command(arguments[1:])
        _say_what_loads()
        from dal.cli.run import run_command

        return run_command(arguments[1:])
    options = _parser().parse_args(arguments)
    if options.command == "compare":
        from dal.reports.comparison import compare

        compare(
            options.runs,
            options.output,
            targets=options.target,
            baseline=options.baseline,
            common_seeds=options.common_seeds,
            common_labels=options.common_labels,
            vary=options.vary,
            across=options.across,
        )
        return 0
    if options.command == "report":
        from dal.costs.prices import parse_prices
        from dal.reports.overview import report

        prices = parse_prices(options.prices) if options.prices else None
        report(options.runs, options.output, prices=prices, target=options.target)
        return 0
    _say_what_loads()
    from dal.cli.rank import rank_command

    rank_command(options.run, options.overrides, options.pool, options.top, options.output)
    return 0


def _say_what_loads() -> None:
    """Say why nothing happens for some seconds. On standard error, since the output of --cfg is for programs."""
    ranks = {os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID")}
    if "pytorch_lightning" not in sys.modules and ranks == {"0"}:
        print("Loading PyTorch and Lightning ...", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    from importlib.metadata import version

    parser = argparse.ArgumentParser(
        prog="dal",
        description="Deep active learning on images.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"dal {version('dal')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="start a campaign, or resume the one in run_dir (dal run --help: all settings)")
    rank = commands.add_parser("rank", help="order a pool from most to least useful, with the model of a run, as CSV")
    rank.add_argument("run", help="the folder of a run")
    rank.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="changes to its configuration")
    rank.add_argument("--pool", metavar="FOLDER", help="rank the images of this folder (runs on data=image_folder)")
    rank.add_argument("--top", type=int, metavar="N", help="only the N most useful")
    rank.add_argument("--output", metavar="FILE", help="where to write (RUN/ranking_NAME.csv)")
    report = commands.add_parser("report", help="table, learning curves and bills of runs")
    report.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs, or folders that hold some")
    report.add_argument("--output", metavar="FOLDER", help="where to write (the folder that holds the runs)")
    report.add_argument(
        "--prices",
        nargs="+",
        metavar="NAME=NUMBER",
        help="label=, gpu_hour=, kwh= and currency=, for all runs (those in the configurations)",
    )
    report.add_argument(
        "--target",
        type=float,
        metavar="SHARE",
        help="tell the labels and the money that this test accuracy takes, such as 0.95 (campaign.target)",
    )
    _add_compare(commands.add_parser("compare", help="statistics of acquisition functions that ran on the same seeds"))
    return parser


def _add_compare(compare: argparse.ArgumentParser) -> None:
    compare.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs, or folders that hold some")
    compare.add_argument("--output", metavar="FOLDER", help="where to write (compare, where the runs are)")
    compare.add_argument(
        "--target",
        nargs="+",
        type=float,
        default=[],
        metavar="SHARE",
        help="test accuracies whose labels are told, such as 0.9 0.95 (the last mean accuracy of the baseline)",
    )
    compare.add_argument("--baseline", metavar="FUNCTION", help="what the others are set against (random)")
    compare.add_argument(
        "--common-seeds", action="store_true", help="leave out seeds that a function lacks, instead of refusing"
    )
    compare.add_argument(
        "--common-labels",
        action="store_true",
        help="compare up to the labels that all runs have, instead of refusing unfinished ones",
    )
    for name, what in (("vary", "that belong to what is compared"), ("across", "whose values make problems apart")):
        compare.add_argument(
            f"--{name}", nargs="+", default=[], metavar="KEY", help=f"keys of the configuration {what} (none)"
        )
