"""Kill `dal label` while people answer, and count what is lost, doubled or out of order.

    python benchmarks/people_kills.py                     # 200 kills, an hour on two cores
    python benchmarks/people_kills.py --quick --kills 12  # writes below runs/
    python benchmarks/people_kills.py --parts load        # ten people at once, without kills

Part ``kills`` starts `dal label` again and again on the same run. Four clients answer through the page's API. They also
skip, take answers back, correct them, send them late or again, and change classes. Each repeats a request until the
page has acknowledged it. At a random moment SIGKILL ends the server, the trainer or both. The page starts a killed
trainer again. Half a line is appended to the journal after every other kill. In the end, the journal is compared with
what the clients know, dal's decisions with those of a second reading, and `dal replay` makes all picks and weights
again. Part ``overlap`` does the same with two people for each image, and a quarter of the kills.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import record
from harness import Row, console
from people_clients import CHANGES, UNREADABLE, Client, Team
from people_compared import compared, sent
from PIL import Image

DIGITS = [str(digit) for digit in range(10)]
KINDS = ("server", "trainer", "both")
SMALL_MODEL = [
    "model.backbone=small_cnn",
    "data.image_size=16",
    "training.min_updates=10",
    "training.max_updates=30",
    "training.check_every=10",
    "campaign.initial_size=60",
    "campaign.query_size=100",
    "campaign.test_size=60",
    "campaign.validation_size=20",
]
UNREADABLE_EVERY = 150
HANG_SECONDS = 600
BACK_SECONDS = 60
IDLE_SECONDS = 150
INTERRUPTED = 130
ABOUT = (
    "`dal label` is killed at random moments while four people answer through the API of the page, skip, undo, "
    "correct, send answers late and again, and change classes. All counts from `not back` to `other rounds` must be 0."
)
PARTS = {
    "kills": "One row for each kind of kill. Those of the last column come up to 2.5 s after the trainer begins to "
    "train or rank.",
    "sent": "What the people did. A late answer is sent after the person closed the page and gave the image back. "
    "`repeat` sends acknowledged answers again.",
    "journal": "The journal after all kills, and what `dal replay` says. `not back` counts killed trainers that the "
    "page did not start again. `other decisions` counts images, classes and sums for which dal and a second, slow "
    "reading of the acknowledged events differ, and `other rounds` such counts in rounds.jsonl. `late opinions` are "
    "images with more people than the overlap, because of an answer after the person gave the image back: a late "
    "answer, or a correction of a skip. `1:5000` stands for 5,000 images with the answers of one person.",
    "load": "Ten people with 200 answers each on average, at once and without kills.",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--parts", nargs="+", choices=("kills", "overlap", "load"), default=["kills", "overlap", "load"]
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=20000)
    parser.add_argument("--answers", type=int, default=200, help="of each of the ten people (default: 200)")
    parser.add_argument("--deep", type=float, default=0.2, help="share of kills that wait for a training")
    parser.add_argument("--no-train", action="store_true", help="kill the server only")
    parser.add_argument("--quick", action="store_true", help="write below runs/")
    parser.add_argument("--results", type=Path, help="folder of the results (default: benchmarks/results)")
    options = parser.parse_args()
    options.deep = 0.0 if options.no_train else options.deep
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for a command in the background
    folder = record.dated(
        options.results or (record.QUICK_RESULTS if options.quick else record.RESULTS), "people_kills"
    )
    tables: dict[str, list[Row]] = {}
    facts = record.facts_now(seed=options.seed, images=options.images)
    for chosen in options.parts:
        with tempfile.TemporaryDirectory() as scratch:
            for part, rows in measured(chosen, Path(scratch), options).items():
                tables.setdefault(part, []).extend(rows)
        for part, rows in tables.items():
            record.print_table(console(), part, rows)
            record.write_part(folder, part, rows, facts)
        record.write_readme(folder, "Kills while people label", ABOUT, PARTS)
    print(f"Written: {folder}")
    return 0


def measured(part: str, folder: Path, options: argparse.Namespace) -> dict[str, list[Row]]:
    """Return the tables of a part."""
    if part == "load":
        return {"load": load(folder, options.answers)}
    if part == "overlap":
        return kills(folder, options, max(1, options.kills // 4), overlap=2)
    return kills(folder, options, options.kills, overlap=1)


def make_digits(root: Path, count: int, unreadable_every: int = 0) -> None:
    """Write digits of 16 px, which become noisy copies after the first 1,797. The name ends with the class.

    One in ``unreadable_every`` files is no image.
    """
    from sklearn.datasets import load_digits

    root.mkdir(parents=True)
    digits, random_numbers = load_digits(), np.random.default_rng(0)
    for number in range(count):
        if unreadable_every and number % unreadable_every == 0:
            (root / f"{number:05}-{UNREADABLE}.png").write_bytes(b"no image")
            continue
        place = number % len(digits.images)
        noise = random_numbers.normal(0, 1.5, (8, 8)) if number >= len(digits.images) else 0
        pixels = np.clip((digits.images[place] + noise) * 15.9, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).resize((16, 16)).save(root / f"{number:05}-{digits.target[place]}.png")


class Server:
    """A process of `dal label`."""

    def __init__(self, arguments: Sequence[str], output: Path) -> None:
        self.output = output
        self.killed: int | None = None
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dal", "label", *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
            )

    def address(self, until: float = float("inf")) -> str | None:
        """Return the address once the page is up, or None at the time ``until``."""
        until = min(until, time.monotonic() + HANG_SECONDS)
        while time.monotonic() < until:
            text = self.output.read_text(errors="replace")
            for line in text.splitlines()[:-1] if not text.endswith("\n") else text.splitlines():
                if line.startswith("Label at "):
                    return line.removeprefix("Label at ")
            if self.process.poll() is not None:
                raise SystemExit(f"dal label ended with {self.process.returncode}: {text}")
            time.sleep(0.02)
        return None

    def trainer(self) -> int | None:
        """Return the process id of the trainer."""
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        except OSError:
            return None
        return int(children[0]) if children else None

    def kill_trainer(self) -> None:
        self.killed = self.trainer()
        if self.killed is not None:
            os.kill(self.killed, signal.SIGKILL)

    def has_new_trainer(self) -> bool:
        """Wait until the page has started the killed trainer again. Return False if it does not."""
        until = time.monotonic() + BACK_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            if self.trainer() not in (None, self.killed):
                return True
            time.sleep(0.1)
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> int:
        """Press Ctrl-C, and return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(HANG_SECONDS)


def kills(folder: Path, options: argparse.Namespace, count: int, overlap: int) -> dict[str, list[Row]]:
    """Kill again and again, and return the counts of kills, of what people did, and of the journal."""
    root, run = folder / "digits", folder / "run"
    make_digits(root, options.images, UNREADABLE_EVERY)
    more = ["--no-train"] if options.no_train else []
    start = [str(root), "--classes", ",".join(DIGITS), *SMALL_MODEL, f"campaign.budget={2 * overlap * options.images}"]
    start += [f"oracle.overlap={overlap}", f"run_dir={run}", *more]
    team, chance = Team(DIGITS, 0.5, overlap, options.seed), random.Random(f"{options.seed}-{overlap}")
    clients = [Client(team, name) for name in CHANGES]
    for client in clients:
        client.start()
    counts: Counter[str] = Counter()
    server: Server | None = None
    for life in range(count):
        team.progress = life / count
        kind = "server" if options.no_train else KINDS[life % len(KINDS)]
        is_new = server is None
        server = server or Server(start, folder / "output.txt")
        counts[kind] += 1
        try:
            counts[f"{kind} {live(server, clients, run, kind, chance, options, is_new)}"] += 1
            if kind == "trainer":
                counts["not back"] += not server.has_new_trainer()
                time.sleep(chance.uniform(0, 1.5))
                if chance.random() < 0.5:
                    continue
                status = server.interrupt()
                assert status == INTERRUPTED, (status, server.output.read_text())
        except BaseException:
            server.kill()
            raise
        server = None
        if life % 2:
            tear(run / "answers.jsonl", chance)
            counts["torn"] += 1
        print(f"{life + 1} kills, {sum(len(c.saved) for c in clients)} saved, {rounds(run)} rounds", flush=True)
    team.progress = 1.0
    server = server or Server([str(run), *more], folder / "output.txt")
    finish(server, team, clients, run, options.no_train)
    note = f"overlap {overlap}"
    rows: list[Row] = [
        {
            "note": f"{note}: {kind}",
            "kills": counts[kind],
            "at the start": counts[f"{kind} starting"],
            "while people answer": counts[f"{kind} answering"],
            "while it trains or ranks": counts[f"{kind} training"],
        }
        for kind in KINDS
        if counts[kind]
    ]
    killed: Row = {"note": note, "torn": counts["torn"], "rounds": rounds(run), "not back": counts["not back"]}
    journal = killed | compared(run, clients, team, DIGITS) | replayed(run, options.no_train)
    return {"kills": rows, "sent": [{"note": note, **sent(clients)}], "journal": [journal]}


def finish(server: Server, team: Team, clients: Sequence[Client], run: Path, no_train: bool) -> None:
    """Let people go on until one more round is finished, and end the page with Ctrl-C."""
    team.address = server.address()
    before, until = rounds(run), time.monotonic() + HANG_SECONDS
    while not no_train and rounds(run) == before and time.monotonic() < until:
        time.sleep(0.2)
    while any(client.changes for client in clients) and time.monotonic() < until:
        time.sleep(0.2)
    team.stopped.set()
    for client in clients:
        client.join(HANG_SECONDS)
    assert server.interrupt() == INTERRUPTED, server.output.read_text()


def live(
    server: Server,
    clients: Sequence[Client],
    run: Path,
    kind: str,
    chance: random.Random,
    options: argparse.Namespace,
    is_new: bool,
) -> str:
    """Let a server live for a while and kill it, its trainer or both. Return at which moment."""
    is_deep = chance.random() < (2 if kind == "trainer" else 1) * options.deep
    at_start = is_new and kind != "trainer" and not is_deep and chance.random() < 0.15
    address = server.address(time.monotonic() + chance.uniform(0, 2) if at_start else float("inf"))
    moment = "starting"
    if address is not None:
        clients[0].team.address = address
        moment = "training" if is_deep else "answering"
        if is_deep:
            wait_for_training(server, run)
        elif not options.no_train:
            wait_for_answers(clients, chance.randint(1, 40))
        time.sleep(chance.uniform(0, 2.5))
    if kind in ("trainer", "both"):
        server.kill_trainer()
    if kind != "trainer":
        server.kill()
    return moment


def wait_for_answers(clients: Sequence[Client], count: int) -> None:
    """Return once people have given this number of answers, or have had nothing to answer for a long time."""
    before, until = sum(len(client.saved) for client in clients), time.monotonic() + IDLE_SECONDS
    while sum(len(client.saved) for client in clients) < before + count and time.monotonic() < until:
        time.sleep(0.02)


def wait_for_training(server: Server, run: Path) -> None:
    """Return once the trainer of this server trains or ranks."""
    until = time.monotonic() + HANG_SECONDS
    while time.monotonic() < until and server.process.poll() is None:
        try:
            found = json.loads((run / "trainer.json").read_text())
        except (OSError, ValueError):
            found = {}
        if found.get("pid") == server.trainer() and found.get("phase") in ("training", "scoring"):
            return
        time.sleep(0.05)
    raise SystemExit(f"the trainer never trained: {(run / 'trainer.log').read_text()[-2000:]}")


def tear(journal: Path, chance: random.Random) -> None:
    """Append the first part of a line, as a process does that is killed while it writes."""
    if journal.exists():
        line = json.dumps({"seq": 10**6, "event": "torn", "kind": "label", "index": 1, "id": "1.png"})
        with journal.open("ab") as file:
            file.write(line[: chance.randrange(1, len(line))].encode())


def rounds(run: Path) -> int:
    path = run / "rounds.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def replayed(run: Path, no_train: bool) -> Row:
    """Return what `dal replay` says."""
    if no_train:
        return {}
    done = subprocess.run([sys.executable, "-m", "dal", "replay", str(run)], capture_output=True, text=True)
    print(done.stdout[-500:], done.stderr[-1500:])
    return {"replay": "equal" if done.returncode == 0 else f"status {done.returncode}"}


def load(folder: Path, answers: int) -> list[Row]:
    """Return the counts of ten people at once, with overlap 1 and 2."""
    rows: list[Row] = []
    for overlap in (1, 2):
        root, run = folder / f"digits{overlap}", folder / f"run{overlap}"
        count = 10 * answers // overlap
        make_digits(root, count)
        settings = [*SMALL_MODEL[:2], f"campaign.initial_size={count}", f"campaign.budget={count * overlap}"]
        settings += [f"oracle.overlap={overlap}", f"run_dir={run}", "--no-train"]
        server = Server([str(root), "--classes", ",".join(DIGITS), *settings], folder / "output.txt")
        team = Team(DIGITS, 0.0, overlap)
        team.address = server.address()
        clients = [Client(team, f"p{number}", to_the_end=True) for number in range(10)]
        try:
            for client in clients:
                client.start()
            for client in clients:
                client.join(HANG_SECONDS)
        finally:
            server.interrupt()
        rows.append({"note": f"overlap {overlap}", "images": count, **compared(run, clients, team, DIGITS)})
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
