"""The arguments of `dal explain`."""

from __future__ import annotations

import argparse

from dal.cli.parser import whole_number
from dal.errors import DalError


def add_explain(explain: argparse.ArgumentParser) -> None:
    """Add the arguments to the parser."""
    explain.add_argument("run", metavar="RUN", help="run folder")
    explain.add_argument("--output", metavar="FOLDER", help="output folder (default: RUN/explain)")
    explain.add_argument(
        "--no-images",
        dest="images",
        action="store_false",
        help="leave out thumbnails of images, which can be personal data",
    )
    explain.add_argument(
        "--watch", action="store_true", help="draw the page again after each round, until the run is done or Ctrl-C"
    )
    explain.add_argument(
        "--refit",
        action="append",
        metavar="CHANGE",
        help="draw no page, but train the labels again with width=2, depth=4, without=ROUND or without=CLASS, and "
        "compare with an unchanged training; can be given several times",
    )
    explain.add_argument(
        "--seeds", type=whole_number, metavar="N", help="with --refit, trainings of each network (default: 3)"
    )


def is_refit(options: argparse.Namespace) -> bool:
    """Return whether a command trains the labels of a run again.

    Raises DalError for options of dal explain that do not go together.
    """
    if options.command != "explain":
        return False
    if options.refit is None:
        if options.seeds is not None:
            raise DalError("--seeds: expected --refit on the same command line. Add one, or leave --seeds out.")
        return False
    for name, given in (
        ("--watch", options.watch),
        ("--output", options.output is not None),
        ("--no-images", not options.images),
    ):
        if given:
            raise DalError(f"{name}: expected no --refit on the same command line. --refit draws no page.")
    return True
