"""Turns the end of a command into an exit status and one sentence.

One rule for all commands: 2 if dal refuses the input, and 1 if the machine refuses, so that the same command may work
later. ``dal replay`` and sweeps also end with 1, for a difference and for a campaign that failed.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import NoReturn

from dal.cli.failures import explanation
from dal.errors import DalError, WaitingForAnswers
from dal.runtime.safe_text import visible


def exit_with(command: Callable[[], int]) -> NoReturn:
    """Run a command, and exit with its status. An error is one sentence on standard error."""
    from dal.runtime.refusals import RefusedBySystem, refusal

    warnings.formatwarning = lambda message, *where, **more: f"Warning: {visible(str(message))}\n"
    threading.excepthook = _thread_failed

    try:
        status = command()
        sys.stdout.flush()
        sys.exit(status)
    except WaitingForAnswers as waiting:
        print(visible(str(waiting)))
        sys.exit(3)
    except RefusedBySystem as error:
        print(f"Error: {visible(str(error))}", file=sys.stderr)
        sys.exit(1)
    except DalError as error:
        print(f"Error: {visible(str(error))}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # The reader, such as head, has closed the pipe. Exit with the status of a program that SIGPIPE ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        print(f"Error: {visible(str(refusal(error)))}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        explained = explanation(error)
        if explained is None:
            raise
        print(f"Error: {visible(explained[0])}", file=sys.stderr)
        sys.exit(explained[1])


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Print the error of a thread, unless it is a failed write.

    TensorBoard writes in a thread, and the main thread raises the same error.
    """
    if not issubclass(failure.exc_type, OSError):
        threading.__excepthook__(failure)
