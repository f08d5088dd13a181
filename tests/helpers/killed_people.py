"""A run whose trainer is killed while people answer: python killed_people.py RUN_DIR SECONDS,SECONDS,... KEY=VALUE...

For each number a child is forked that resumes the run, while this process answers what the run wants, and it dies that
many seconds after its first answer by SIGKILL. A last child runs to the end. Then the run is replayed.
"""

import os
import signal
import sys
import time
import traceback
from pathlib import Path

from dal.cli.replay import replay_command
from dal.cli.run import run_campaign
from dal.config.overrides import compose
from dal.config.schema import build
from dal.data import load
from helpers.labelers import Labelers


def fork(work):
    process = os.fork()
    if process == 0:
        status = 1
        try:
            status = work() or 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            os._exit(status)
    return process


def answered(process, labelers, seconds):
    """Answer while the child lives, kill it after a time, and return its exit code."""
    first = None
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if labelers.folder.exists() and labelers.answer(2):
            first = first or time.monotonic()
        if seconds is not None and first is not None and time.monotonic() - first > seconds:
            os.kill(process, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        time.sleep(0.02)


def main():
    run_dir, moments, *overrides = sys.argv[1:]
    config = compose(
        [*overrides, f"run_dir={run_dir}", "oracle=people", "oracle.wait=true", "oracle.poll_seconds=0.02"]
    )
    labelers = Labelers(Path(run_dir), load(build(config).data).train)
    for moment in filter(None, moments.split(",")):
        status = answered(fork(lambda: run_campaign(config) and 0), labelers, float(moment))
        if status not in (-signal.SIGKILL, 0):
            sys.exit(f"{moment}: expected to be killed there, ended with {status}")
    status = answered(fork(lambda: run_campaign(config) and 0), labelers, None)
    if status:
        sys.exit(f"the last start ended with {status}")
    replayed = fork(lambda: replay_command(run_dir))
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(replayed, 0)[1]))


if __name__ == "__main__":
    main()
