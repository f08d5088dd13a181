"""`dal ARGUMENTS...` that a signal finds at work on any machine: python held_run.py FOLDER ARGUMENTS...

After some updates it makes FOLDER/held, and waits for FOLDER/go.
"""

import sys
import time
from pathlib import Path

from dal.cli.main import main
from dal.cli.terminal import CampaignProgress


def hold(folder):
    show, held, go = CampaignProgress.__call__, folder / "held", folder / "go"

    def show_and_wait(self, phase, done, total):
        show(self, phase, done, total)
        if phase == "train" and done >= 5:
            held.touch()
            while not go.exists():
                time.sleep(0.02)

    CampaignProgress.__call__ = show_and_wait


if __name__ == "__main__":
    hold(Path(sys.argv[1]))
    main(sys.argv[2:])
