"""A real `dal run` that kills itself with SIGKILL at a given point: python killed_run.py POINT RUN_DIR KEY=VALUE...

A point is PHASE:DONE (the first time that phase reports that much progress), commit:N (before the N-th commit, journals
already written), or never.
"""

import os
import signal
import sys

from dal.compose import compose
from dal.console import CampaignProgress
from dal.records import RunFolder
from dal.run_command import run_campaign


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def main():
    point, run_dir, *overrides = sys.argv[1:]
    kind, _, count = point.partition(":")
    show, commit, commits = CampaignProgress.__call__, RunFolder._commit, []

    def show_or_die(self, phase, done, total):
        if phase == kind and done >= int(count):
            die()
        show(self, phase, done, total)

    def commit_or_die(self):
        commits.append(1)
        if kind == "commit" and len(commits) == int(count):
            die()
        commit(self)

    CampaignProgress.__call__, RunFolder._commit = show_or_die, commit_or_die
    run_campaign(compose([*overrides, f"run_dir={run_dir}"]))


if __name__ == "__main__":
    main()
