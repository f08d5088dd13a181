"""Measure how fast `dal label` starts, and how fast it reads a journal.

    python benchmarks/people_start.py           # folders of 1,000 and 100,000 images, and 1,000,000 events
    python benchmarks/people_start.py --quick   # 100 and 1,000 images, and 10,000 events, written below runs/

A start is timed from the command to the bytes of the first image, which the page's API leases. The first start of a run
lists the folder and writes the settings. A second one opens the run again. Neither starts a trainer.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import record
from harness import Row, console
from PIL import Image

CLASSES = ["cat", "dog", "bird"]
IN_A_FOLDER = 1000
ABOUT = (
    "Seconds from the command `dal label` to the first image, the memory of its server, and seconds to read a journal. "
    "CPU seconds are those of the measured process, and do not depend on what else the machine does."
)
PARTS = {
    "start": "Medians over starts, and the largest memory. The images are JPEGs of 16 px, 1,000 in a folder.",
    "fold": "A journal of labels from three people, of which 2 % are corrections, read by a new process.",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+")
    parser.add_argument("--events", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small sizes, written below runs/")
    parser.add_argument("--results", type=Path, help="folder of the results (default: benchmarks/results)")
    options = parser.parse_args()
    sizes = options.images or ([100, 1000] if options.quick else [1000, 100_000])
    events = options.events or (10_000 if options.quick else 1_000_000)
    folder = record.dated(
        options.results or (record.QUICK_RESULTS if options.quick else record.RESULTS), "people_start"
    )
    facts = record.facts_now(images=sizes, events=events, repeats=options.repeats)
    with tempfile.TemporaryDirectory() as scratch:
        rows = [row for size in sizes for row in starts(Path(scratch), size, options.repeats)]
        found = {"start": rows, "fold": folds(Path(scratch), events, options.repeats)}
    for part, table in found.items():
        record.print_table(console(), part, table)
        record.write_part(folder, part, table, facts)
    record.write_readme(folder, "The start of dal label", ABOUT, PARTS)
    print(f"Written: {folder}")
    return 0


def make_images(root: Path, count: int) -> None:
    """Write one JPEG many times."""
    written = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(written, "JPEG")
    for number in range(count):
        path = root / f"{number // IN_A_FOLDER:03}" / f"{number % IN_A_FOLDER:03}.jpg"
        if not number % IN_A_FOLDER:
            path.parent.mkdir(parents=True)
        path.write_bytes(written.getvalue())


def starts(scratch: Path, images: int, repeats: int) -> Iterator[Row]:
    """Return the medians of first and of second starts."""
    root = scratch / f"images{images}"
    make_images(root, images)
    runs = [scratch / f"run{images}-{number}" for number in range(repeats)]
    for name in ("first start", "started again"):
        found = [start(root, run) for run in runs]
        seconds, cpu, memory = (np.array(column) for column in zip(*found, strict=True))
        yield {
            "note": name,
            "images": images,
            "median_s": float(np.median(seconds)),
            "max_s": float(seconds.max()),
            "CPU s": float(np.median(cpu)),
            "memory MB": float(memory.max()),
        }


def start(root: Path, run: Path) -> tuple[float, float, float]:
    """Return the seconds to the first image, and the CPU seconds and the megabytes of the server at that moment."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "dal", "label", str(root), "--classes", ",".join(CLASSES), f"run_dir={run}"]
    with subprocess.Popen([*command, "--no-train"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = next(line.split()[-1] for line in process.stdout if line.startswith("Label at "))
            first_image(address)
            seconds = time.perf_counter() - begun
            times = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            process.send_signal(signal.SIGINT)
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return seconds, (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"), peak * 1024 / 1e6


def first_image(address: str) -> None:
    """Open the page as a browser does, lease images and load the first."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    headers = {
        "Cookie": f"dal-{parts.port}={parse_qs(parts.query)['token'][0]}",
        "Origin": f"http://{parts.netloc}",
        "Content-Type": "application/json",
    }
    connection.request("GET", "/", headers=headers)
    assert b"<html" in connection.getresponse().read()
    tab = f"tab{time.monotonic_ns()}"
    body = json.dumps({"annotator": tab, "tab": tab, "count": 8, "have": []})
    connection.request("POST", "/api/lease", body, headers)
    index = json.loads(connection.getresponse().read())["items"][0]["index"]
    connection.request("GET", f"/image/{index}", headers=headers)
    assert connection.getresponse().read().startswith(b"\xff\xd8")


def folds(scratch: Path, events: int, repeats: int) -> list[Row]:
    """Return the seconds of a new process to read and fold a journal."""
    run = scratch / "journal"
    run.mkdir()
    write_journal(run / "answers.jsonl", events)
    code = (
        "import sys, time; from dal.labeling.people.answers import Answers\n"
        "wall, cpu = time.perf_counter(), time.process_time()\n"
        f"fold = Answers(sys.argv[1], {CLASSES}).refresh()\n"
        f"assert fold.seq == {events}\n"
        "done = (time.perf_counter() - wall, time.process_time() - cpu)\n"
        "status = open('/proc/self/status').read().splitlines()\n"
        "print(*done, next(int(line.split()[1]) for line in status if line.startswith('VmHWM')) * 1024 / 1e6)"
    )
    done = [subprocess.check_output([sys.executable, "-c", code, str(run)], text=True) for _ in range(repeats)]
    seconds, cpu, memory = np.array([line.split() for line in done], dtype=float).T
    size = (run / "answers.jsonl").stat().st_size / 1e6
    row = {"median_s": float(np.median(seconds)), "max_s": float(seconds.max()), "CPU s": float(np.median(cpu))}
    return [{"note": "fold", "events": events, "MB": size, **row, "memory MB": float(memory.max())}]


def write_journal(path: Path, events: int) -> None:
    """Write a journal as the page does."""
    from dal.labeling.people.events import Answer, event_line

    with path.open("w") as file:
        for seq in range(1, events + 1):
            index = seq if seq % 50 else seq - 1
            answer = Answer(
                seq=seq,
                event=f"{seq:08x}-0000-4000-8000-000000000000",
                kind="label",
                index=index,
                id=f"{index // IN_A_FOLDER:03}/{index % IN_A_FOLDER:03}.jpg",
                label=CLASSES[seq % 3],
                annotator=("ana", "bo", "cy")[index % 3],
                at="2026-11-29T12:00:00Z",
                seconds=1.25,
                ask=index,
                source="page",
            )
            file.write(event_line(answer))


if __name__ == "__main__":
    raise SystemExit(main())
