"""People who answer through the API of the page, change their minds, and go on after the server was killed.

Each client has its own seeded generator. It repeats a request until the page acknowledges it.

This module has no command: see people_kills.py.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

ANSWERS = {"label": 87, "skip": 5, "none": 3, "unsure": 3, "unreadable": 2}
"""Percent of the answers for new images."""
ACTIONS = {"undo": 0.06, "correct": 0.05, "repeat": 0.03, "leave": 0.02}
"""Chance of each after an answer."""
OTHER_LABEL = 0.1
"""Share of labels that are any present class in place of the right one."""
UNREADABLE = "x"
"""What the names of images that cannot be decoded end with, in place of the class."""
CHANGES: dict[str, Sequence[tuple[str, str, str | None]]] = {
    "ana": (
        ("add_class", "ana-1", None),
        ("rename_class", "ana-1", "ana-one"),
        ("add_class", "ana-2", None),
        ("merge_class", "ana-one", "1"),
        ("retire_class", "ana-2", None),
    ),
    "bo": (
        ("rename_class", "7", "seven"),
        ("add_class", "bo-1", None),
        ("merge_class", "bo-1", "2"),
        ("rename_class", "seven", "Seven"),
    ),
    "cy": (("add_class", "cy-1", None), ("add_class", "cy-2", None), ("merge_class", "cy-1", "cy-2")),
    "di": (("rename_class", "4", "four"), ("add_class", "4", None), ("merge_class", "4", "four")),
}
"""The changes of classes of each person, in order. Nobody else changes these classes, so that none is refused."""


class Team:
    """What the clients share: the address at present, who has which image, and what they saw."""

    def __init__(self, classes: Sequence[str], seconds: float, overlap: int = 1, seed: int = 0) -> None:
        self.classes, self.seconds, self.overlap, self.seed = list(classes), seconds, overlap, seed
        self.address: str | None = None
        self.progress = 0.0
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.claims: dict[int, set[str]] = {}
        """The people who have an image in their hands or have answered it."""
        self.handed_twice: list[tuple[int, set[str]]] = []
        self.refused: list[str] = []
        self.changed: list[str] = []
        """Repeats that the page acknowledged as another event."""

    def hand(self, person: str, index: int) -> None:
        with self.lock:
            people = self.claims.setdefault(index, set())
            people.add(person)
            if len(people) > self.overlap:
                self.handed_twice.append((index, set(people)))

    def give_back(self, person: str, index: int) -> None:
        with self.lock:
            self.claims.get(index, set()).discard(person)

    def has(self, person: str, index: int) -> bool:
        with self.lock:
            return person in self.claims.get(index, ())


class Client(threading.Thread):
    """A person. With ``to_the_end``, it only answers, until nothing is left. Otherwise it changes its mind too."""

    def __init__(self, team: Team, name: str, to_the_end: bool = False) -> None:
        super().__init__(daemon=True)
        self.team, self.person, self.to_the_end = team, name, to_the_end
        self.has_all = False
        self.chance = random.Random(f"{team.seed}-{name}")
        self.hand: dict[int, str] = {}
        self.pinned: dict[int, float] = {}
        """Images that an undo brought back to the screen, and when they get another answer."""
        self.unsaved: list[dict[str, Any]] = []
        self.later: list[tuple[float, dict[str, Any]]] = []
        """Answers that a closed page kept, and when it sends them."""
        self.ids: dict[int, str] = {}
        self.answered: dict[str, dict[str, Any]] = {}
        """Answers that are not taken back, by event."""
        self.late: set[str] = set()
        """Answers for images that the person no longer had."""
        self.saved: dict[str, tuple[int, dict[str, Any]]] = {}
        self.made, self.tab, self.repeated = 0, 0, 0
        self.did: Counter[str] = Counter()
        changes = CHANGES.get(name, ())
        self.changes = [((place + 0.8 * self.chance.random()) / len(changes), c) for place, c in enumerate(changes)]
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
        is_over = self.team.stopped.is_set()
        if is_over:
            self.unsaved += [answer for _, answer in self.later]
            self.later = []
        return not self.unsaved and (is_over or self.has_all)

    def step(self) -> None:
        if self.unsaved:
            return self.send()
        if self.changes and self.team.progress >= self.changes[0][0]:
            return self.change_class()
        found = self.post("lease", count=4, have=[*self.hand, *self.pinned])
        for index in set(self.hand) - set(found["kept"]):
            self.team.give_back(self.person, index)
            del self.hand[index]
        for item in found["items"]:
            self.team.hand(self.person, item["index"])
            self.hand[item["index"]] = self.ids[item["index"]] = item["id"]
        if not self.hand and not self.pinned:
            self.has_all = self.to_the_end
            time.sleep(0.2)
        time.sleep(self.chance.expovariate(1 / self.team.seconds) if self.team.seconds else 0)
        for index in list(self.hand)[: self.chance.choice((1, 1, 2))]:
            del self.hand[index]
            self.unsaved.append(self.answer(index))
        if not self.to_the_end:
            self.answer_what_is_due(time.monotonic())
            for action, share in ACTIONS.items():
                if self.chance.random() < share:
                    getattr(self, action)()
        return None

    def answer_what_is_due(self, now: float) -> None:
        for index in [index for index, due in self.pinned.items() if due <= now]:
            del self.pinned[index]
            self.unsaved.append(self.answer(index))
        for answer in [answer for due, answer in self.later if due <= now]:
            self.answered[answer["event"]] = answer
            self.unsaved.append(answer)
            # The page may have handed the image out to this person again, who is done with it now.
            self.hand.pop(answer["index"], None)
            self.pinned.pop(answer["index"], None)
            if answer["kind"] == "skip":
                self.team.give_back(self.person, answer["index"])
        self.later = [(due, answer) for due, answer in self.later if due > now]

    def undo(self) -> None:
        """Take an answer back, as of the last ones. Its image is on the screen again, for a while."""
        recent = list(self.answered.values())[-20:]
        if not recent:
            return
        answer = recent[-1] if self.chance.random() < 0.5 else self.chance.choice(recent)
        del self.answered[answer["event"]]
        self.unsaved.append({"event": self.event(), "kind": "undo", "undoes": answer["event"]})
        self.hand.pop(answer["index"], None)
        self.pinned[answer["index"]] = time.monotonic() + self.chance.choice((0, 1, 3, 15))
        self.did["undo"] += 1

    def correct(self) -> None:
        """Give another answer for an image, often a long time later."""
        if self.answered:
            index = self.chance.choice(list(self.answered.values()))["index"]
            kind = self.chance.choice(("label", "label", "label", "label", "none", "unsure", "unreadable"))
            self.unsaved.append(self.answer(index, kind, self.chance.choice(self.team.classes)))
            self.did["correction"] += 1

    def repeat(self) -> None:
        """Send events again that the page acknowledged, as after an answer that got lost on its way back."""
        again = [answer for _, answer in self.saved.values() if "name" not in answer]
        if again:
            again = self.chance.choices(again, k=3)
            self.unsaved += {answer["event"]: answer for answer in again}.values()
            self.did["repeat"] += 1

    def leave(self) -> None:
        """Close the page with an answer that it has not sent, and open it again. The answer comes later."""
        if self.unsaved:
            self.send()  # a killed server raises OSError, and the page stays open
        for index in (*self.hand, *self.pinned):
            self.team.give_back(self.person, index)
        mine = [*self.hand]
        self.hand, self.pinned = {}, {}
        if mine:
            answer = self.answer(self.chance.choice(mine))
            del self.answered[answer["event"]]  # until it is sent, it cannot be taken back
            self.later.append((time.monotonic() + self.chance.uniform(1, 10), answer))
            self.did["late"] += 1
        tab, self.tab = self.tab, self.tab + 1
        try:
            self.post("release", tab=f"{self.person}-{tab}")
        except (OSError, http.client.HTTPException, ValueError):
            self.connection = None  # the page is closed, so it does not try again

    def event(self) -> str:
        self.made += 1
        return f"{self.person}-{self.made}"

    def answer(self, index: int, kind: str | None = None, label: str | None = None) -> dict[str, Any]:
        name = self.ids[index].rpartition("-")[2].partition(".")[0]
        if kind is None:
            kind = self.chance.choices([*ANSWERS], [*ANSWERS.values()])[0]
            kind = "unreadable" if name == UNREADABLE else kind
            if self.to_the_end and kind in ("skip", "unreadable"):
                kind = "label"
            label = self.chance.choice(self.team.classes) if self.chance.random() < OTHER_LABEL else name
            self.did[kind] += 1
        answer = {"event": self.event(), "index": index, "kind": kind, "seconds": 1.0}
        if kind == "label":
            answer["label"] = label
        if not self.team.has(self.person, index):
            self.late.add(answer["event"])
        self.answered[answer["event"]] = answer
        if kind == "skip":
            self.team.give_back(self.person, index)
        return answer

    def send(self) -> None:
        found = self.post("answers", answers=self.unsaved)
        for answer in self.unsaved:
            seq = found["saved"][answer["event"]]
            before = self.saved.setdefault(answer["event"], (seq, answer))
            if before[0] != seq:
                self.team.changed.append(answer["event"])
        self.unsaved = []

    def change_class(self) -> None:
        _, (kind, name, to) = self.changes[0]
        change = {"event": f"{self.person}-class-{len(self.changes)}", "kind": kind, "name": name, "to": to}
        found = self.post("classes", **change)
        self.saved[change["event"]] = (0, change)
        self.team.classes = [one["name"] for one in found["classes"]]
        self.changes = self.changes[1:]
        self.did[kind] += 1

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
        body = json.dumps({"annotator": self.person, "tab": f"{self.person}-{self.tab}", **values})
        self.connection.request("POST", f"/api/{path}", body, headers)
        response = self.connection.getresponse()
        found: dict[str, Any] = json.loads(response.read())
        if response.status != 200:
            self.team.refused.append(f"{self.person} {path}: {response.status} {found} for {body}")
            if response.status == 400:  # the same request would be refused again
                self.unsaved = []
                self.changes = self.changes[path == "classes" :]
            raise OSError(found)
        return found


def joined(clients: Sequence[Client], value: Callable[[Client], Any]) -> dict[str, Any]:
    """Return the mappings of all clients as one. Their keys differ."""
    return {key: found for client in clients for key, found in value(client).items()}
