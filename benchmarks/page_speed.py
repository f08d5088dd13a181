"""Measure the page on which people label: from a keystroke to the next image on the screen.

    python benchmarks/page_speed.py      # 200 images of 512 px, about 2 minutes; needs chromium and playwright
    python benchmarks/page_speed.py --images 60 --quick

The server is a separate process, and headless Chromium loads the page from it. Keys come every 300 ms, as from a fast
person, and then as soon as an image is painted. A time ends when the frame with the next image is painted. Then ten
people answer at once, without a browser. Each of their times ends when the server acknowledges an answer on the disk.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import record
from harness import Row, console
from PIL import Image

CLASSES = ["cat", "dog", "bird"]
PACE_SECONDS = 0.3
PEOPLE = 10
TOKEN = "a-token-of-this-benchmark"
ABOUT = "Milliseconds on one machine. Chromium is headless, so that no screen adds its own delay."
PARTS = {"page": "One row for each way to answer."}
TIMES = """() => {
  const found = performance.getEntriesByName("dal-key-to-paint").map((one) => one.duration);
  performance.clearMeasures("dal-key-to-paint");
  return found;
}"""
PRESS = """async (count) => {
  const painted = () => document.body.dataset.painted, found = [];
  for (let i = 0; i < count; i++) {
    while (!painted()) await new Promise((resolve) => setTimeout(resolve, 1));
    const before = painted();
    document.dispatchEvent(new KeyboardEvent("keydown", { key: "123"[i % 3], bubbles: true }));
    while (painted() === before) await new Promise((resolve) => requestAnimationFrame(resolve));
    while (!painted()) await new Promise((resolve) => setTimeout(resolve, 1));
    for (const one of performance.getEntriesByName("dal-key-to-paint")) found.push(one.duration);
    performance.clearMeasures("dal-key-to-paint");
  }
  return found;
}"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--side", type=int, default=512, help="pixels (default: 512)")
    parser.add_argument("--quick", action="store_true", help="write below runs/")
    parser.add_argument("--results", type=Path, help="folder of the results (default: benchmarks/results)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve)
    facts = record.facts_now(images=options.images, side=options.side)
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder) / "images", 2 * options.images + PEOPLE * 20 + 64, options.side)
        process = subprocess.Popen([sys.executable, __file__, "--serve", folder], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            rows = [*in_browser(url, options.images), of_people(url, 20)]
        finally:
            process.kill()
            process.wait()
    record.print_table(console(), "page", rows)
    folder_of_results = record.dated(
        options.results or (record.QUICK_RESULTS if options.quick else record.RESULTS), "page"
    )
    record.write_part(folder_of_results, "page", rows, facts)
    record.write_readme(folder_of_results, "The page for people", ABOUT, PARTS)
    print(f"Written: {folder_of_results}")
    return 0


def make_images(root: Path, count: int, side: int) -> None:
    """Write JPEG files of smooth colors with noise, about as large as photographs."""
    root.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        smooth = Image.fromarray(random.integers(0, 255, (6, 6, 3), dtype=np.uint8)).resize((side, side))
        pixels = np.asarray(smooth) + random.normal(0, 8, (side, side, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / f"{number:05}.jpg", quality=90)


def serve(folder: Path) -> int:
    """Serve the images of a folder until the process is killed."""
    from dal.labeling.people.answers import Answers
    from dal.labeling.people.leases import Leases
    from dal.labeling.people.page.images import FolderPictures
    from dal.labeling.people.page.server import PageServer
    from dal.labeling.people.page.session import LabelingSession
    from dal.runs.asked import AskedLine

    names = sorted(path.name for path in (folder / "images").iterdir())
    lines = [AskedLine(rank, 0, rank, rank, name) for rank, name in enumerate(names)]
    session = LabelingSession(Answers(folder, CLASSES), lambda: lines, names, Leases(60))
    with PageServer(session, FolderPictures(folder / "images", names), token=TOKEN) as server:
        print(server.url, flush=True)
        threading.Event().wait()
    return 0


def in_browser(url: str, count: int) -> list[Row]:
    """Return the times from key to paint, first at a person's pace and then without a pause."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        begun = time.perf_counter()
        page.goto(f"{url}&name=ana")
        page.wait_for_selector("body[data-painted]", state="attached")
        rows.append(summary("address to first image", [1000 * (time.perf_counter() - begun)]))
        times: list[float] = []
        for number in range(count):
            page.keyboard.press("123"[number % 3])
            page.wait_for_timeout(1000 * PACE_SECONDS)
            times += page.evaluate(TIMES)
        rows.append(summary("key to next image, 300 ms between keys", times))
        rows.append(summary("key to next image, no pause", page.evaluate(PRESS, count)))
        browser.close()
    return rows


def of_people(url: str, count: int) -> Row:
    """Return the times of answers of ten people at once."""
    address = url.partition("//")[2].partition("/")[0]
    times: list[float] = []

    def work(person: str) -> None:
        connection = http.client.HTTPConnection(address, timeout=60)
        headers = {
            "Cookie": f"dal-{address.partition(':')[2]}={TOKEN}",
            "Origin": f"http://{address}",
            "Content-Type": "application/json",
        }

        def post(path: str, **values: Any) -> Any:
            body = json.dumps({"annotator": person, "tab": person, **values})
            connection.request("POST", f"/api/{path}", body, headers)
            return json.loads(connection.getresponse().read())

        for number in range(count):
            (item,) = post("lease", count=1, have=[])["items"]
            answer = {"event": f"{person}-{number}", "kind": "label", "label": "cat", "index": item["index"]}
            begun = time.perf_counter()
            post("answers", answers=[answer])
            times.append(1000 * (time.perf_counter() - begun))

    threads = [threading.Thread(target=work, args=(f"p{number}",)) for number in range(PEOPLE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return summary(f"answer acknowledged, {PEOPLE} people at once", times)


def summary(name: str, times: list[float]) -> Row:
    """Return a row with quantiles of times in milliseconds."""
    median, most, p99 = (float(np.quantile(times, share)) for share in (0.5, 0.95, 0.99))
    return {"measured": name, "times": len(times), "median_ms": median, "p95_ms": most, "p99_ms": p99}


if __name__ == "__main__":
    raise SystemExit(main())
