"""A page server over a small folder of images, and a client that speaks to it as a browser does."""

import http.client
import json
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from dal.labeling.people.answers import Answers
from dal.labeling.people.gone import give_up
from dal.labeling.people.leases import Leases
from dal.labeling.people.masks import MaskBook
from dal.labeling.people.page.facts import Facts
from dal.labeling.people.page.images import FolderPictures
from dal.labeling.people.page.mask_desk import MaskDesk, UnitPictures
from dal.labeling.people.page.server import PageServer
from dal.labeling.people.page.session import LabelingSession
from dal.runs.asked import AskedLine

TOKEN = "a-token-for-the-tests-only"
CLASSES = ("cat", "dog", "bird")


def make_images(root, names, side=24):
    """Write noise images of these names below root."""
    root.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for name in names:
        pixels = random.integers(0, 255, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name, "JPEG")
    return list(names)


def lines_of(ids, kind="query", **values):
    """One line of asked.csv for each image, best first."""
    return [AskedLine(rank, 0, rank, rank, name, kind=kind, **values) for rank, name in enumerate(ids)]


@dataclass
class Site:
    """A run folder with its session. serve() starts a server, also after an earlier one was closed."""

    run: object
    root: object
    ids: list
    lines: list
    classes: tuple = CLASSES
    facts: Facts = field(default_factory=Facts)
    budget: int | None = None
    overlap: int = 1
    seconds: float = 60.0
    clock: object = None
    places: object = None  # of units, for people who draw masks

    def session(self):
        clock = {} if self.clock is None else {"clock": self.clock}
        masks = self.places and MaskDesk(self.places, lambda: MaskBook(self.run, self.places, len(self.classes)))
        answers = Answers(self.run, self.classes)
        return LabelingSession(
            answers,
            lambda: self.lines,
            self.ids,
            Leases(self.seconds, self.overlap),
            lease_file=self.run / ".leases",
            facts=lambda: self.facts,
            budget=self.budget,
            give_up=lambda lines: lines if masks else give_up(answers, self.root, self.ids, lines),
            masks=masks,
            **clock,
        )

    def serve(self, port=0, **options):
        pictures = UnitPictures(self.places) if self.places else FolderPictures(self.root, self.ids)
        return PageServer(self.session(), pictures, port=port, token=TOKEN, **options)

    def journal(self):
        """The events of the journal, as dicts."""
        path = self.run / "answers.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def site_of(tmp_path, count=6, names=None, **options):
    ids = make_images(tmp_path / "images", names or [f"{i:03}.jpg" for i in range(count)])
    run = tmp_path / "run"
    run.mkdir(exist_ok=True)
    return Site(run, tmp_path / "images", ids, options.pop("lines", None) or lines_of(ids), **options)


class Client:
    """A browser that has opened the page's address."""

    def __init__(self, server, annotator="ana", tab="tab1"):
        self.server, self.annotator, self.tab = server, annotator, tab
        self.cookie = server.gate.cookie_header().partition(";")[0]
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)

    def request(self, method, path, body=None, **changed):
        """(status, headers, bytes). A header that is None is left out."""
        headers = {"Host": f"127.0.0.1:{self.server.port}", "Cookie": self.cookie}
        if method == "POST":
            headers |= {"Origin": f"http://127.0.0.1:{self.server.port}", "Content-Type": "application/json"}
        headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        sent = {name: value for name, value in headers.items() if value is not None}
        self.connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            self.connection.putheader(name, value)
        if body is not None:
            self.connection.putheader("Content-Length", str(len(body)))
        self.connection.endheaders(body)
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def post(self, path, **values):
        """(status, object)"""
        body = json.dumps({"annotator": self.annotator, "tab": self.tab, **values}).encode()
        status, _, data = self.request("POST", f"/api/{path}", body)
        return status, json.loads(data)

    def lease(self, count=4, have=(), **values):
        status, found = self.post("lease", count=count, have=list(have), **values)
        assert status == 200, found
        return [item["index"] for item in found["items"]], found

    def answer(self, *answers):
        return self.post("answers", answers=list(answers))


def label(event, index, name, **values):
    return {"event": event, "kind": "label", "label": name, "index": index, **values}
