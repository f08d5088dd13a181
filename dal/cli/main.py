"""The program `dal`."""

from __future__ import annotations

import sys

from dal.cli.loading import loading


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit.

    Exit status: 0 done, 1 a campaign of a sweep failed, memory ran out or the operating system refused, 2 bad input, 3
    waiting for labels, 130 interrupted, 143 terminated.
    """
    given = sys.argv[1:] if arguments is None else arguments
    with loading():
        # Not at the head of this file, where Ctrl-C would end an import with a traceback.
        from dal.cli.commands import command_of
        from dal.cli.exit_status import exit_with
        from dal.runtime.openmp import wait_briefly

        wait_briefly()

    def command() -> int:
        with loading():
            found = command_of(given)
        return found()

    exit_with(command)
