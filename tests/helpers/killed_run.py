"""Real processes of one `dal run` that kill themselves: python killed_run.py RUN_DIR POINT,POINT,... KEY=VALUE...

For each point a child is forked that resumes the run and dies there by SIGKILL; a last child runs to the end. A point
is PHASE:DONE (the first time that phase reports that much progress), commit:N (before its N-th commit, journals already
written), answer:N (when the oracle is asked for the N-th time) or after:SECONDS (killed from outside). Forking saves
the imports, which take longer than the runs.
"""

import os
import signal
import sys
import time
import traceback

from dal.cli.run import run_campaign
from dal.cli.terminal import CampaignProgress
from dal.config.overrides import compose
from dal.labeling.oracle import DatasetOracle
from dal.runs.folder import RunFolder
from helpers.pictures import without_drawing


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def run(config, point):
    kind, _, count = point.partition(":")
    show, commit, commits = CampaignProgress.__call__, RunFolder._commit, []
    answer, queries = DatasetOracle.__call__, []

    def show_or_die(self, phase, done, total):
        if phase == kind and done >= int(count):
            die()
        show(self, phase, done, total)

    def commit_or_die(self):
        commits.append(1)
        if kind == "commit" and len(commits) == int(count):
            die()
        commit(self)

    def answer_or_die(self, indices):
        queries.append(1)
        if kind == "answer" and len(queries) == int(count):
            die()
        return answer(self, indices)

    CampaignProgress.__call__, RunFolder._commit, DatasetOracle.__call__ = show_or_die, commit_or_die, answer_or_die
    run_campaign(config)


def child(config, point):
    process = os.fork()
    if process == 0:
        status = 1
        try:
            with without_drawing():
                run(config, point)
            status = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(status)
    if point.startswith("after:"):
        time.sleep(float(point.partition(":")[2]))
        os.kill(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main():
    run_dir, points, *overrides = sys.argv[1:]
    config = compose([*overrides, f"run_dir={run_dir}"])
    for point in filter(None, points.split(",")):
        status = child(config, point)
        # On a fast machine, a run may have ended before a moment.
        if status != -signal.SIGKILL and (status or not point.startswith("after:")):
            sys.exit(f"{point}: expected to be killed there, ended with {status}")
    sys.exit(child(config, "never"))


if __name__ == "__main__":
    main()
