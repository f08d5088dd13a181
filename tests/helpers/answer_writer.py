"""A person who labels through real processes that die: python answer_writer.py FOLDER NAME LABELS LIVES SEED

Each life is a forked child that records the labels that are not confirmed yet, and dies by SIGKILL: inside the writing
of a line, after it, before it with the lock in its hand, or at a random moment from outside. The last life ends by
itself. A label counts as confirmed once its event id stands in FOLDER/confirmed-NAME.
"""

import os
import random
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

from dal.labeling.people import answers

WAYS = ("torn", "written", "before", "outside")


def label(folder, name, count, way, chance):
    """Record what is left of this person's labels."""
    journal = answers.Answers(folder, ["cat", "dog"])
    real, until = answers.append_text, chance.randint(1, 4)
    calls = []

    def append(path, text, at=None):
        calls.append(1)
        if way == "outside":  # or all is recorded before the kill
            time.sleep(0.004)
            if len(calls) > 5:
                signal.pause()
        if way not in WAYS[:3] or len(calls) < until:
            return real(path, text, at)
        if way == "torn":
            part = text.encode()[: chance.randrange(1, len(text))]
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
            os.write(descriptor, part)
        elif way == "written":
            real(path, text, at)
        return os.kill(os.getpid(), signal.SIGKILL)

    answers.append_text = append
    confirmed = Path(folder) / f"confirmed-{name}"
    done = confirmed.read_text().split() if confirmed.exists() else []
    with confirmed.open("a", buffering=1) as file:
        for number in range(len(done), count):
            event = f"{name}-{number}"
            draft = {"kind": "label", "index": number, "id": f"{number}.jpg", "label": "dog", "annotator": name}
            journal.record({**draft, "event": event})
            file.write(f"{event}\n")


def live(folder, name, count, way, chance):
    """One life. Returns its exit status."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            warnings.simplefilter("ignore")
            label(folder, name, count, way, chance)
            status = 0
        except Exception:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(status)
    if way == "outside":
        time.sleep(chance.uniform(0.0, 0.03))
        os.kill(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main():
    folder, name, count, lives, seed = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
    chance, kills = random.Random(seed), 0
    for life in range(lives):
        status = live(folder, name, count, WAYS[life % len(WAYS)], chance)
        kills += status == -signal.SIGKILL
        if status not in (0, -signal.SIGKILL):
            sys.exit(status)
    print(kills)
    sys.exit(live(folder, name, count, "none", chance))


if __name__ == "__main__":
    main()
