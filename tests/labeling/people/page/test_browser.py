"""The page in headless Chromium. DAL_PAGE_IMAGES=300 labels more images than the suite has time for."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.label_page import Client, lines_of, site_of
from helpers.processes import HANG_SECONDS, wait_for
from PIL import Image

from dal.data.grid import Grid, UnitIds
from dal.labeling.people.masks import UnitPlaces
from dal.labeling.people.page.facts import Facts
from dal.runs.asked import AskedLine

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright (the extra dev)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")

COUNT = int(os.environ.get("DAL_PAGE_IMAGES", "40"))
SERVER = Path(__file__).parents[3] / "helpers" / "label_page_server.py"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser):
    context = browser.new_context(viewport={"width": 900, "height": 600}, reduced_motion="reduce")
    context.set_default_timeout(HANG_SECONDS * 1000)
    yield context
    context.close()


PRESS = """async ([key, count]) => {
  for (let i = 0; i < count; i++) {
    const before = document.body.dataset.painted;
    document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    while (document.body.dataset.painted === before || !document.body.dataset.painted) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}"""


LEASE = """async () => {
  while (state.leasing) await new Promise((resolve) => setTimeout(resolve, 2));
  state.leasedAt = 0;
  await refill();
}"""


class Page:
    """A tab of a person, with what it complains about."""

    def __init__(self, context, server, name="ana", url=None):
        self.tab = context.new_page()
        self.requests, self.complaints = [], []
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.goto(url or f"{server.url}&name={name}")

    def painted(self):
        """The index of the image on the screen."""
        self.tab.wait_for_selector("body[data-painted]", state="attached")
        return int(self.tab.locator("body").get_attribute("data-painted"))

    def press(self, key, until="changes"):
        """Press a key, and return the index of the next image that is painted."""
        before = self.painted()
        self.tab.keyboard.press(key)
        if until == "changes":
            self.tab.wait_for_selector(f'body[data-painted]:not([data-painted="{before}"])', state="attached")
        elif until == "end":
            self.tab.wait_for_selector("body:not([data-painted])", state="attached")
        return before

    def press_many(self, key, count):
        """Press a key for each of ``count`` images, as soon as it is painted."""
        self.painted()
        self.tab.evaluate(PRESS, [key, count])

    def shows(self, index):
        """Wait until this image is painted."""
        self.tab.wait_for_selector(f'body[data-painted="{index}"]', state="attached")

    def prefetched(self, count):
        """Wait until the browser needs no server to show the next images."""
        ready = f"state.queue.length >= {count} && state.queue.slice(0, {count}).every((one) => one.ready)"
        wait_for(lambda: self.tab.evaluate(ready))

    def saved(self):
        self.tab.wait_for_selector('body[data-unsaved="0"]', state="attached")

    def says(self, selector, text):
        """Wait for a text, or for one that matches a pattern."""
        found = playwright.expect(self.tab.locator(selector))
        found.to_have_text(text, use_inner_text=True, timeout=HANG_SECONDS * 1000)


def told(events):
    """What events say, without what differs from run to run."""
    return [{k: v for k, v in event.items() if k not in ("event", "at", "seconds")} for event in events]


def test_keys_alone_give_the_journal_of_the_same_answers_by_the_api(context, tmp_path):
    site = site_of(tmp_path / "page", count=COUNT)
    with site.serve() as server:
        page = Page(context, server)
        last = COUNT - 1
        for index in range(COUNT):
            page.shows(index)
            if index == COUNT // 2:
                page.saved()
                page.tab.reload()
                page.shows(index)
            if index == 7:
                for back in range(6, 1, -1):
                    page.press("u")
                    page.shows(back)
                for _ in range(5):
                    page.press("2")
            page.press("nt"[index % 2] if index % 9 == 4 else "123"[index % 3], "end" if index == last else "changes")
        page.saved()
        page.tab.wait_for_selector("#note b:text-is('Nothing to label now: the model chooses the next images.')")
        assert page.complaints == []

    other = site_of(tmp_path / "api", count=COUNT)
    with other.serve() as server:
        client, given = Client(server), {}

        def say(index, **answer):
            event = f"e{len(given)}"
            given[event] = index
            saved = {"event": event, "index": index, "ask": index, **answer}
            assert client.answer(saved)[0] == 200
            return event

        def usual(index):
            if index % 9 == 4:
                return say(index, kind=("none", "unsure")[index % 2])
            return say(index, kind="label", label=["cat", "dog", "bird"][index % 3])

        for index in range(COUNT):
            if index == 7:
                for event in (f"e{back}" for back in range(6, 1, -1)):
                    client.answer({"event": f"u{event}", "kind": "undo", "undoes": event})
                for again in range(2, 7):
                    say(again, kind="label", label="dog")
            usual(index)
    assert told(site.journal()) == told(other.journal())
    assert all(0 <= event["seconds"] < 60 for event in site.journal() if event["kind"] != "undo")


def test_a_key_that_is_held_down_answers_once(context, tmp_path):
    site = site_of(tmp_path)
    with site.serve() as server:
        page = Page(context, server)
        page.painted()
        for _ in range(5):
            page.tab.keyboard.down("1")
            page.tab.wait_for_timeout(20)
        page.tab.keyboard.up("1")
        page.saved()
        page.shows(1)
    assert len(site.journal()) == 1


def test_the_last_answers_are_corrected_by_a_click(context, tmp_path):
    site = site_of(tmp_path)
    with site.serve() as server:
        page = Page(context, server)
        for key in "123":
            page.press(key)
        page.tab.keyboard.press(",")
        page.tab.locator("#recent .row").nth(2).click()
        page.shows(0)
        page.says("#banner span", "Correcting: you answered cat.")
        page.press("3")
        page.shows(3)
        page.saved()
        page.tab.keyboard.press(",")
        page.tab.locator("#recent .row").first.click()
        page.shows(0)
        page.press("Escape")
        page.shows(3)
    events = [(event["index"], event["label"]) for event in site.journal()]
    assert events == [(0, "cat"), (1, "dog"), (2, "bird"), (0, "bird")]


def test_two_tabs_of_one_person_share_no_image(context, tmp_path):
    site = site_of(tmp_path, count=16)
    with site.serve() as server:
        first, second = Page(context, server), Page(context, server)
        seen = []
        for _ in range(7):
            for page in (first, second):
                page.tab.bring_to_front()
                seen.append(page.press("1"))
        for page in (first, second):
            page.saved()
    assert len(set(seen)) == len(seen) == len(site.journal())


def test_a_server_that_is_killed_loses_nothing(context, tmp_path):
    site = site_of(tmp_path, count=12)
    process, url = _start(tmp_path, 0)
    try:
        page = Page(context, None, url=f"{url}&name=ana")
        for key in "12":
            page.press(key)
        page.saved()
        page.prefetched(3)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for key in "312":
            page.press(key)
        page.says("#saved.bad", "3 not saved")
        process, _ = _start(tmp_path, int(url.split(":")[2].partition("/")[0]))
        page.saved()
        page.press("1")
        page.saved()
        page.tab.wait_for_selector("#saved:not(.bad)")
    finally:
        process.kill()
        process.wait()
    events = site.journal()
    assert [(e["seq"], e["index"], e["label"]) for e in events] == [
        (1, 0, "cat"), (2, 1, "dog"), (3, 2, "bird"), (4, 3, "cat"), (5, 4, "dog"), (6, 5, "cat"),
    ]  # fmt: skip


def _start(folder, port):
    command = [sys.executable, str(SERVER), str(folder), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def test_answers_without_a_network_are_sent_later(context, tmp_path):
    site = site_of(tmp_path, count=12)
    with site.serve() as server:
        page = Page(context, server)
        page.press("1")
        page.saved()
        page.prefetched(3)
        context.set_offline(True)
        for key in "231":
            page.press(key)
        page.tab.wait_for_selector("#saved.bad")
        context.set_offline(False)
        page.saved()
    assert [event["label"] for event in site.journal()] == ["cat", "dog", "bird", "cat"]


def test_answers_that_are_not_saved_survive_a_reload(context, tmp_path):
    site = site_of(tmp_path, count=12)
    with site.serve() as server:
        page = Page(context, server)
        page.tab.route("**/api/answers", lambda route: route.abort())
        for key in "1u23":
            page.press(key)
        # The later route counts. Without any in between, the answers could be saved.
        page.tab.route("**/api/answers", lambda route: route.fulfill(status=507, json={"error": "file: disk full."}))
        page.tab.wait_for_selector("#saved.bad")
        page.tab.reload()
        page.says("#saved.bad", "4 not saved")
        page.tab.unroute("**/api/answers")
        page.saved()
        page.shows(2)
        page.press("u")
        page.saved()
    kinds = [(event["kind"], event["index"], event["label"]) for event in site.journal()]
    assert kinds == [
        ("label", 0, "cat"),
        ("undo", 0, None),
        ("label", 0, "dog"),
        ("label", 1, "bird"),
        ("undo", 1, None),
    ]


def test_the_page_stops_after_fifty_answers_that_are_not_saved(context, tmp_path):
    site = site_of(tmp_path, count=60)
    with site.serve() as server:
        page = Page(context, server)
        page.tab.route("**/api/answers", lambda route: route.fulfill(status=507, json={"error": "file: disk full."}))
        page.press_many("1", 50)
        page.says("#stop p", "file: disk full.")
        # The server gives images, which does not hide why it takes no answers.
        page.tab.evaluate(LEASE)
        assert page.tab.locator("#stop p").inner_text() == "file: disk full."
        page.press("1", until="nothing")
        page.tab.wait_for_timeout(100)
        assert page.painted() == 50
        page.tab.unroute("**/api/answers")
        page.saved()
        page.tab.wait_for_selector("#stop", state="hidden")
    assert [event["index"] for event in site.journal()] == list(range(50))


HOSTILE = [
    "<script>document.body.remove()<" + "\N{FULLWIDTH SOLIDUS}script>.jpg",
    '"><img src=x onerror=document.title=1>.jpg',
    "<img src=http:evil.example>.jpg",
    "two\nlines\t'quoted'.jpg",
    os.fsdecode(b"bytes\xff\xfe.jpg"),
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.\N{HEBREW LETTER ALEF}.jpg",
]


def test_names_are_text_and_no_request_leaves(context, tmp_path):
    classes = ("<b>bold</b>", "\N{ARABIC LETTER SEEN}\N{ARABIC LETTER LAM}", "x" * 300, "a\N{RIGHT-TO-LEFT OVERRIDE}b")
    site = site_of(tmp_path, names=HOSTILE, classes=classes, lines=lines_of(HOSTILE, suggestion=classes[0]))
    with site.serve() as server:
        page = Page(context, server)
        shown = []
        for index in range(len(HOSTILE)):
            page.shows(index)
            shown.append(page.tab.locator("#file").text_content())
            page.press("1", "end" if index == 5 else "changes")
        page.tab.keyboard.press(",")
        assert page.tab.locator("#recent .row").count() == len(HOSTILE)
        page.saved()
        names = page.tab.locator("#classes .name").all_text_contents()
        assert {url.split("/")[2] for url in page.requests} == {f"127.0.0.1:{server.port}"}
        assert page.complaints == []
        assert page.tab.title() == "dal: label"
    assert shown[:3] == HOSTILE[:3]
    assert shown[3:] == [
        "two\\nlines\\t'quoted'.jpg",
        "bytes\\udcff\\udcfe.jpg",
        "\\u202egpj.\N{HEBREW LETTER ALEF}.jpg",
    ]
    assert names == [*classes[:3], "a\\u202eb"]
    assert [event["id"] for event in site.journal()] == HOSTILE


def test_an_image_that_is_gone_is_counted_and_a_damaged_one_is_unreadable_by_a_key(context, tmp_path):
    site = site_of(tmp_path, count=3)
    (site.root / "000.jpg").unlink()
    (site.root / "001.jpg").write_bytes(b"no image")
    with site.serve() as server:
        page = Page(context, server)
        page.painted()
        page.says("#facts .unreadable", "1 image is gone or unreadable.")
        page.says("#note b", re.compile(r"^This image cannot be decoded \(it is not an image"))
        page.press("x")
        page.tab.wait_for_selector("#note", state="hidden")
        page.saved()
    events = [(event["kind"], event["annotator"] == "dal") for event in site.journal()]
    assert events == [("unreadable", True), ("unreadable", False)]


def test_the_suggestion_is_taken_by_a_key_and_can_be_hidden(context, tmp_path):
    site = site_of(tmp_path, count=6)
    site.lines = lines_of(site.ids, suggestion="dog", confidence=0.83)
    with site.serve() as server:
        page = Page(context, server)
        page.painted()
        page.says("#model span", "Model: dog 83 %")
        page.press("Space")
        page.tab.keyboard.press("m")
        page.tab.wait_for_selector("#model", state="hidden")
        page.press("1")
        page.press("Space", until="nothing")
        page.saved()
    assert [(e["label"], e["suggestion"]) for e in site.journal()] == [("dog", "dog"), ("cat", None)]


def test_classes_are_managed_on_the_page(context, tmp_path):
    site = site_of(tmp_path, count=6)
    with site.serve() as server:
        page = Page(context, server)
        page.press("1")
        page.saved()
        page.tab.click("#open-classes")
        page.tab.fill("#add input", "cow")
        page.tab.keyboard.press("Enter")
        page.tab.wait_for_selector("#classes [data-name=cow]")
        page.tab.locator(".manage .line").nth(1).get_by_text("Rename").click()
        page.tab.locator(".manage input").fill("hound")
        page.tab.keyboard.press("Enter")
        page.tab.wait_for_selector("#classes [data-name=hound]")
        page.tab.locator(".manage .line").nth(0).get_by_text("Merge").click()
        for width in (390, 900):
            page.tab.set_viewport_size({"width": width, "height": 600})
            cut = (
                "[...document.querySelectorAll('.manage .line')].filter((one) => one.scrollWidth > one.clientWidth + 1)"
            )
            assert page.tab.evaluate(f"{cut}.length") == 0, "every button is in the dialog"
            assert page.tab.locator(".manage .editing .name").bounding_box()["width"] > 60
        page.tab.locator(".manage select").select_option("cow")
        page.tab.locator(".manage .line").nth(0).get_by_text("Merge").click()
        page.tab.wait_for_selector("#classes [data-name=cat]", state="detached")
        page.tab.locator(".manage .line").nth(1).get_by_text("Retire").click()
        page.tab.locator(".manage .line").nth(1).get_by_text("Retire").click()
        page.tab.wait_for_selector("#classes [data-name=bird]", state="detached")
        page.tab.keyboard.press("Escape")
        page.tab.wait_for_selector("#manager", state="hidden")
        page.press("4")
        page.saved()
    changes = [(e["kind"], e.get("name"), e.get("to"), e.get("label")) for e in site.journal()]
    assert changes[1:] == [
        ("add_class", "cow", None, None),
        ("rename_class", "dog", "hound", None),
        ("merge_class", "cat", "cow", None),
        ("retire_class", "bird", None, None),
        ("label", None, None, "cow"),
    ]


def test_a_new_ranking_leaves_the_image_on_the_screen(context, tmp_path):
    site = site_of(tmp_path, count=12)
    site.lines = lines_of(site.ids[:8])
    with site.serve() as server:
        page = Page(context, server)
        page.press("1")
        page.saved()
        new = [AskedLine(8 + rank, 1, rank, index, site.ids[index]) for rank, index in enumerate((11, 10, 9, 8))]
        site.lines = [*site.lines, *new]
        wait_for(lambda: page.tab.evaluate("state.queue.length && state.queue[0].item.index") == 11)
        seen = [page.press("1") for _ in range(4)]
        page.saved()
    assert seen == [1, 11, 10, 9]


def test_the_name_is_asked_once(context, tmp_path):
    site = site_of(tmp_path)
    with site.serve() as server:
        page = Page(context, server, url=server.url)
        page.tab.fill("#name input", " José del Río ")
        page.tab.keyboard.press("Enter")
        page.press("1")
        page.saved()
        page.tab.goto(server.url)
        page.press("2")
        page.saved()
    assert {event["annotator"] for event in site.journal()} == {"Jose.del.Rio"}


def test_a_late_answer_is_said_to_be_a_second_opinion(context, tmp_path):
    site = site_of(tmp_path, count=3)
    with site.serve() as server:
        page = Page(context, server)
        page.painted()
        Client(server, "ben").answer({"event": "e1", "kind": "label", "label": "dog", "index": 0})
        page.press("1")
        page.saved()
        page.says("#banner span", "Kept as a second opinion: ben answered 000.jpg first.")
    assert [event["annotator"] for event in site.journal()] == ["ben", "ana"]


def test_the_page_says_what_is_known_of_the_model(context, tmp_path):
    site = site_of(tmp_path, count=20, facts=Facts(0.91, 100, 32.0, 0, 4, "training"), budget=20)
    with site.serve() as server:
        page = Page(context, server)
        page.press("1")
        page.saved()
        page.says("#facts .accuracy", "Accuracy 91.0 % (83.8 to 95.2 %, on 100 test images)")
        seen = "The model that chose the images has not seen the last label. About 32 labels arrive while it trains."
        page.says("#facts .ranking", seen)
        page.says("#facts .trainer", "The model is training (round 5).")
        page.says("#count", "1 of 20 labels")
    site.facts = Facts(error="loss: expected a finite number, got nan.", phase="stopped")
    with site.serve() as server:
        page = Page(context, server)
        page.painted()
        page.says("#facts .accuracy", "Accuracy is not known: this run has no test set.")
        page.says("#facts .trainer", "loss: expected a finite number, got nan.")


def test_a_region_is_shown_in_its_image_and_its_mask_is_taken(context, tmp_path):
    site = site_of(tmp_path, count=1)
    site.places = UnitPlaces(site.root, site.ids, Grid(16, 16, 8))
    site.ids = UnitIds(site.ids, site.places.grid)
    site.lines = lines_of(site.ids)
    with site.serve() as server:
        page = Page(context, server)
        page.shows(0)
        page.says("#drop small", "12 × 12 pixels, or 24 × 24")
        image, region = (page.tab.locator(f"#stage {part}").bounding_box() for part in ("img", ".frame i"))
        assert (region["x"], region["y"]) == (image["x"], image["y"])
        assert region["width"] * 2 == pytest.approx(image["width"], abs=1)
        with page.tab.expect_download() as download:
            page.tab.click("#get-region")
        assert download.value.suggested_filename == "000.jpg_r0_c0.png"
        page.tab.keyboard.press("1")  # no class can be chosen
        wrong = "5.png: expected 12 x 12 pixels as its region, or 24 x 24 as its image, got 5 x 5."
        for size, problem in ((5, wrong), (12, "")):
            drawn = io.BytesIO()
            Image.new("L", (size, size), 2).save(drawn, "PNG")
            file = {"name": f"{size}.png", "mimeType": "image/png", "buffer": drawn.getvalue()}
            page.tab.set_input_files("#mask-file", file)
            if problem:
                page.says("#masks .problem", problem)
                page.shows(0)
        page.shows(1)
        page.saved()
    (event,) = site.journal()
    assert event["id"] == "000.jpg#r0,c0" and (site.run / "masks" / f"{event['label'][6:]}.png").exists()
