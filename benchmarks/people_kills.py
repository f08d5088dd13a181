"""Kill `dal label` while people answer, and count what is lost, doubled or out of order.

    python benchmarks/people_kills.py                     # 200 kills, half an hour or more on two busy cores
    python benchmarks/people_kills.py --quick --kills 10  # writes below runs/
    python benchmarks/people_kills.py --parts load        # ten people at once, without kills

Part ``kills`` starts `dal label` again and again on the same run. Clients lease images and answer through the page's
API, and repeat an answer until the page has acknowledged it. At a random moment SIGKILL ends the server, the trainer or
both. Half a line is appended to the journal after every other kill. In the end the journal is compared with what the
clients know, and `dal replay` makes all picks and weights again.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import record
from harness import Row, console
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
ANSWERS = ("label", "none", "unsure")
HANG_SECONDS = 600
ABOUT = (
    "`dal label` is killed at random moments while four people answer through the API of the page. All counts in the "
    "columns lost, twice, gaps and refused must be 0."
)
PARTS = {
    "kills": "One row for each kind of kill. Those of the last column come up to 2.5 s after the trainer begins to "
    "train or rank.",
    "journal": "The journal after all kills, and what `dal replay` says. `1:5000` stands for 5,000 images with the "
    "answers of one person.",
    "load": "Ten people with 200 answers each on average, at once and without kills.",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=("kills", "load"), default=["kills", "load"])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=12000)
    parser.add_argument("--answers", type=int, default=200, help="of each of the ten people (default: 200)")
    parser.add_argument("--deep", type=float, default=0.2, help="share of kills that wait for a training")
    parser.add_argument("--no-train", action="store_true", help="kill the server only")
    parser.add_argument("--quick", action="store_true", help="write below runs/")
    parser.add_argument("--results", type=Path, help="folder of the results (default: benchmarks/results)")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for a command in the background
    folder = record.dated(
        options.results or (record.QUICK_RESULTS if options.quick else record.RESULTS), "people_kills"
    )
    for chosen in options.parts:
        facts = record.facts_now(seed=options.seed, images=options.images)
        with tempfile.TemporaryDirectory() as scratch:
            if chosen == "kills":
                found = dict(zip(("kills", "journal"), kills(Path(scratch), options), strict=True))
            else:
                found = {"load": load(Path(scratch), options.answers)}
        for part, rows in found.items():
            record.print_table(console(), part, rows)
            record.write_part(folder, part, rows, facts)
        record.write_readme(folder, "Kills while people label", ABOUT, PARTS)
    print(f"Written: {folder}")
    return 0


def make_digits(root: Path, count: int) -> None:
    """Write digits of 16 px, which become noisy copies after the first 1,797. The name ends with the class."""
    from sklearn.datasets import load_digits

    root.mkdir(parents=True)
    digits, random_numbers = load_digits(), np.random.default_rng(0)
    for number in range(count):
        place = number % len(digits.images)
        noise = random_numbers.normal(0, 1.5, (8, 8)) if number >= len(digits.images) else 0
        pixels = np.clip((digits.images[place] + noise) * 15.9, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).resize((16, 16)).save(root / f"{number:05}-{digits.target[place]}.png")


class Server:
    """A process of `dal label`."""

    def __init__(self, arguments: Sequence[str], output: Path) -> None:
        self.output = output
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

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> int:
        """Press Ctrl-C, and return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(HANG_SECONDS)


class Team:
    """What the clients share: the address at present, who holds which image, and what they saw."""

    def __init__(self, classes: Sequence[str], seconds: float) -> None:
        self.classes, self.seconds = classes, seconds
        self.address: str | None = None
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.holder: dict[int, str] = {}
        self.handed_twice: list[tuple[int, str, str]] = []
        self.handed = 0
        self.refused: list[str] = []
        self.overlap = 1

    def hand(self, person: str, index: int) -> None:
        with self.lock:
            self.handed += 1
            other = self.holder.setdefault(index, person)
            if other != person and self.overlap == 1:
                self.handed_twice.append((index, other, person))

    def give_back(self, person: str, index: int) -> None:
        with self.lock:
            if self.holder.get(index) == person:
                del self.holder[index]


class Client(threading.Thread):
    """A person who answers through the API of the page, and repeats what is not acknowledged."""

    def __init__(self, team: Team, name: str, to_the_end: bool = False) -> None:
        super().__init__(daemon=True)
        self.team, self.person, self.to_the_end = team, name, to_the_end
        self.has_all = False
        self.chance = random.Random(name)
        self.hand: dict[int, str] = {}
        self.unsaved: list[dict[str, Any]] = []
        self.saved: dict[str, tuple[int, dict[str, Any]]] = {}
        self.made, self.repeated = 0, 0
        self.connection: http.client.HTTPConnection | None = None
        self.opened: str | None = None

    def run(self) -> None:
        while not self.is_done():
            try:
                self.step()
            except (OSError, http.client.HTTPException, ValueError):
                self.connection = None
                self.repeated += bool(self.unsaved)
                time.sleep(0.05)

    def is_done(self) -> bool:
        if self.unsaved:
            return False
        return self.team.stopped.is_set() or self.has_all

    def step(self) -> None:
        if self.unsaved:
            found = self.post("answers", answers=self.unsaved)
            for answer in self.unsaved:
                self.saved[answer["event"]] = (found["saved"][answer["event"]], answer)
                self.team.give_back(self.person, answer["index"])
            self.unsaved = []
            return
        found = self.post("lease", count=4, have=list(self.hand))
        for index in set(self.hand) - set(found["kept"]):
            self.team.give_back(self.person, index)
            del self.hand[index]
        for item in found["items"]:
            self.team.hand(self.person, item["index"])
            self.hand[item["index"]] = item["id"]
        if not self.hand:
            self.has_all = self.to_the_end
            time.sleep(0.2)
            return
        time.sleep(self.chance.expovariate(1 / self.team.seconds) if self.team.seconds else 0)
        for index, id in list(self.hand.items())[: self.chance.choice((1, 1, 2))]:
            del self.hand[index]
            self.unsaved.append(self.answer(index, id))
        if self.saved and not self.to_the_end and self.chance.random() < 0.03:
            _, before = self.chance.choice(list(self.saved.values()))
            self.unsaved.append(self.answer(before["index"], "", self.chance.choice(self.team.classes)))

    def answer(self, index: int, id: str, label: str | None = None) -> dict[str, Any]:
        self.made += 1
        kind = self.chance.choices(ANSWERS, (96, 2, 2))[0] if label is None else "label"
        name = label or id.rpartition("-")[2].partition(".")[0]
        answer = {"event": f"{self.person}-{self.made}", "index": index, "kind": kind, "seconds": 1.0}
        return answer | ({"label": name} if kind == "label" else {})

    def post(self, path: str, **values: Any) -> dict[str, Any]:
        address = self.team.address
        if address is None:
            raise OSError("no server")
        if self.connection is None or address != self.opened:
            self.connection, self.opened = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60), address
        parts = urlsplit(address)
        headers = {
            "Cookie": f"dal-{parts.port}={parse_qs(parts.query)['token'][0]}",
            "Origin": f"http://{parts.netloc}",
            "Content-Type": "application/json",
        }
        body = json.dumps({"annotator": self.person, "tab": self.person, **values})
        self.connection.request("POST", f"/api/{path}", body, headers)
        response = self.connection.getresponse()
        found: dict[str, Any] = json.loads(response.read())
        if response.status != 200:
            self.team.refused.append(f"{response.status} {found}")
            raise OSError(found)
        return found


def kills(folder: Path, options: argparse.Namespace) -> tuple[list[Row], list[Row]]:
    """Kill again and again, and return the counts of kills and those of the journal."""
    root, run = folder / "digits", folder / "run"
    make_digits(root, options.images)
    more = ["--no-train"] if options.no_train else []
    start = [str(root), "--classes", ",".join(DIGITS), *SMALL_MODEL, f"campaign.budget={options.images}"]
    start += [f"run_dir={run}", *more]
    team, chance = Team(DIGITS, 0.5), random.Random(options.seed)
    clients = [Client(team, name) for name in ("ana", "bo", "cy", "di")]
    for client in clients:
        client.start()
    counts: Counter[str] = Counter()
    for life in range(options.kills):
        server = Server(start, folder / "output.txt")
        kind = "server" if options.no_train else KINDS[life % len(KINDS)]
        counts[kind] += 1
        try:
            counts[f"{kind} {live(server, team, run, kind, chance, options.deep)}"] += 1
        finally:
            server.kill()
        if life % 2:
            tear(run / "answers.jsonl", chance)
            counts["torn"] += 1
        print(f"{life + 1} kills, {sum(len(c.saved) for c in clients)} saved, {rounds(run)} rounds", flush=True)
    last = Server([str(run), *more], folder / "output.txt")
    team.address = last.address()
    before, until = rounds(run), time.monotonic() + HANG_SECONDS
    while not options.no_train and rounds(run) == before and time.monotonic() < until:
        time.sleep(0.2)
    team.stopped.set()
    for client in clients:
        client.join(HANG_SECONDS)
    assert last.interrupt() == 130, last.output.read_text()
    rows: list[Row] = [
        {
            "note": f"killed: {kind}",
            "kills": counts[kind],
            "at the start": counts[f"{kind} starting"],
            "while people answer": counts[f"{kind} answering"],
            "while it trains or ranks": counts[f"{kind} training"],
        }
        for kind in KINDS
        if counts[kind]
    ]
    return rows, [at_the_end(run, clients, team, counts["torn"]) | replayed(run, options.no_train)]


def live(server: Server, team: Team, run: Path, kind: str, chance: random.Random, deep: float) -> str:
    """Let a server live for a while and kill it. Return at which moment."""
    moment, is_deep = "answering", kind != "trainer" and chance.random() < deep
    is_deep = is_deep or (kind == "trainer" and chance.random() < 2 * deep)
    at_start = kind != "trainer" and not is_deep and chance.random() < 0.15
    address = server.address(time.monotonic() + chance.uniform(0, 2) if at_start else float("inf"))
    if address is None:
        moment = "starting"
    else:
        team.address = address
        if is_deep:
            wait_for_training(server, run)
            moment = "training"
        time.sleep(chance.uniform(0, 2.5))
    trainer = server.trainer()
    if kind in ("trainer", "both") and trainer is not None:
        os.kill(trainer, signal.SIGKILL)
    if kind == "trainer":
        time.sleep(chance.uniform(0, 1.5))
        status = server.interrupt()
        assert status == 130, (status, server.output.read_text())
    else:
        server.kill()
    return moment


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


def at_the_end(run: Path, clients: Sequence[Client], team: Team, torn: int) -> Row:
    """Compare the journal with what the clients know."""
    events = [json.loads(line) for line in (run / "answers.jsonl").read_text().splitlines()]
    by_id = {event["event"]: event for event in events}
    saved = {name: found for client in clients for name, found in client.saved.items()}
    lost = [
        name
        for name, (seq, answer) in saved.items()
        if (event := by_id.get(name)) is None
        or event["seq"] != seq
        or any(event[key] != answer.get(key) for key in ("index", "kind", "label"))
    ]
    people: dict[int, set[str]] = {}
    for event in events:
        people.setdefault(event["index"], set()).add(event["annotator"])
    lines = (run / "asked.csv").read_text().splitlines() if (run / "asked.csv").exists() else []
    asks = [int(line.partition(",")[0]) for line in lines if line[:1].isdigit()]
    return {
        "torn": torn,
        "acknowledged": len(saved),
        "repeats": sum(client.repeated for client in clients),
        "lost": len(lost),
        "events twice": len(events) - len(by_id),
        "images twice": sum(len(found) > team.overlap for found in people.values()),
        "handed twice": len(team.handed_twice),
        "gaps": sum(event["seq"] != place for place, event in enumerate(events, 1))
        + sum(ask != place for place, ask in enumerate(asks)),
        "refused": len(team.refused),
        "rounds": rounds(run),
        "people": " ".join(f"{n}:{c}" for n, c in sorted(Counter(map(len, people.values())).items())),
    }


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
        team = Team(DIGITS, 0.0)
        team.overlap, team.address = overlap, server.address()
        clients = [Client(team, f"p{number}", to_the_end=True) for number in range(10)]
        try:
            for client in clients:
                client.start()
            for client in clients:
                client.join(HANG_SECONDS)
        finally:
            server.interrupt()
        found = at_the_end(run, clients, team, 0)
        del found["torn"], found["rounds"], found["repeats"]
        rows.append({"note": f"overlap {overlap}", "images": count, **found})
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
