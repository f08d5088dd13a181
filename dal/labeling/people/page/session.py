"""LabelingSession: what the page asks of a run. It ties the answers, the wanted images and the leases together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import RLock
from typing import Any

from dal.errors import bad_value
from dal.labeling.people.answers import Answers
from dal.labeling.people.events import CLASS_CHANGES, MERGE, RENAME, UNDO, Answer
from dal.labeling.people.leases import Leases
from dal.labeling.people.page.body import Body
from dal.labeling.people.page.drafts import Drafts, at
from dal.labeling.people.page.facts import Facts
from dal.labeling.people.page.status import Counts, accuracy_of, classes_of, nothing_to_label, tested
from dal.labeling.people.page.tabs import Tabs
from dal.labeling.people.wanted import wanted
from dal.runs.asked import AskedLine

MOST_LEASED = 64
_MOST_RECENT = 100
_MOST_SCANNED = 200_000


class LabelingSession:
    """The state behind the page. Each public method answers one kind of request, and threads may call it at once.

    ``asked`` returns the lines of asked.csv, and the same list until they change. ``facts`` returns what is known
    about the model. ``run`` identifies the run, so that a browser sends answers to no other. ``ids`` are the images by
    index. ``clock`` is the time in seconds that leases use.
    """

    def __init__(
        self,
        answers: Answers,
        asked: Callable[[], Sequence[AskedLine]],
        ids: Sequence[str],
        *,
        run: str = "run",
        leases: Leases,
        overlap: int = 1,
        facts: Callable[[], Facts] = Facts,
        budget: int | None = None,
        prefetch: int = 8,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.answers, self.ids, self.run, self.budget, self.prefetch = answers, ids, run, budget, prefetch
        self._asked, self._facts, self._clock = asked, facts, clock
        self._leases, self._overlap = leases, overlap
        self._counts, self._tabs = Counts(), Tabs(leases.seconds)
        self._lines: dict[int, AskedLine] = {}
        self._tests: list[int] = []
        self._listed: Sequence[AskedLine] | None = None
        self._lock = RLock()

    def lease(self, body: Body) -> dict[str, Any]:
        """Return images for a tab, best first, and which of those in its hands are still wanted."""
        person, tab = body.annotator(), body.tab()
        count, have = body.count("count", MOST_LEASED), set(body.counts("have"))
        with self._lock:
            self.answers.refresh()
            now, fold = self._clock(), self.answers.fold
            open_lines = wanted(self._all_lines(), fold, self._overlap)
            elsewhere = self._tabs.elsewhere(person, tab, now)
            held = [line for line in open_lines if line.ask in have - elsewhere]
            kept = self._leases.take(person, len(held), held, fold, now)
            free = [line for line in open_lines if line.ask not in have | elsewhere]
            taken = self._leases.take(person, count, free, fold, now) if count else []
            self._tabs.hold(person, tab, [line.ask for line in (*kept, *taken)], now)
            status = self._status(person)
            behind = status["ranking"]["behind"]
            answer = {"items": [self._item(line, behind) for line in taken], "kept": [line.ask for line in kept]}
            if count and not taken and not kept:
                bought = self._counts.bought
                answer["nothing"] = nothing_to_label(self._facts(), len(open_lines), bought, self.budget)
            return {**answer, "status": status}

    def answer(self, body: Body) -> dict[str, Any]:
        """Record answers and undos in their order. They are on disk when this returns."""
        person, tab, given = body.annotator(), body.tab(), body.bodies("answers")
        with self._lock:
            self.answers.refresh()
            self._all_lines()
            drafts = Drafts(person, self.ids, self._lines, self._behind())
            saved: dict[str, int] = {}
            for group in drafts.groups(given, self.answers.fold):
                made = [drafts.draft(one, self.answers.fold) for one in group]
                for event, _ in self.answers.record_all(made):
                    saved[event.event] = event.seq
                    if isinstance(event, Answer):
                        self._settle(event, person, tab)
            return {"saved": saved, "status": self._status(person)}

    def _settle(self, event: Answer, person: str, tab: str) -> None:
        """Give an answered image back, and lease the image of an undo, which the person sees again."""
        line = self._lines.get(-1 if event.ask is None else event.ask)
        if line is None:
            return
        now = self._clock()
        if event.kind == UNDO:
            fold = self.answers.fold
            open_lines = [one for one in wanted(self._all_lines(), fold, self._overlap) if one.ask == line.ask]
            self._tabs.hold(person, tab, [one.ask for one in self._leases.take(person, 1, open_lines, fold, now)], now)
        else:
            self._leases.release(person, [line.ask])
            self._tabs.drop(person, [line.ask])

    def status(self, body: Body) -> dict[str, Any]:
        """Return the numbers, the classes and what the trainer does."""
        with self._lock:
            self.answers.refresh()
            return self._status(body.annotator())

    def recent(self, body: Body) -> dict[str, Any]:
        """Return a person's last answers that count, newest first. ``before`` is the seq at which to go on."""
        person, count = body.annotator(), body.count("count", _MOST_RECENT)
        with self._lock:
            self.answers.refresh()
            self._all_lines()
            fold = self.answers.fold
            before = body.optional_count("before") or fold.seq + 1
            found: list[dict[str, Any]] = []
            for seq in range(min(before, fold.seq + 1) - 1, max(0, before - _MOST_SCANNED), -1):
                answer = fold.answer(seq)
                if answer is None or answer.annotator != person or fold.is_undone(seq):
                    continue
                found.append(self._said(answer))
                if len(found) == count:
                    break
            return {"answers": found}

    def release(self, body: Body) -> dict[str, Any]:
        """Give the images of a tab back, because it is closed."""
        person, tab = body.annotator(), body.tab()
        with self._lock:
            self._leases.release(person, self._tabs.close(person, tab))
        return {}

    def change_class(self, body: Body) -> dict[str, Any]:
        """Add, rename, merge or retire a class."""
        person, kind = body.annotator(), body.text("kind")
        if kind not in CLASS_CHANGES:
            raise bad_value("kind", f"one of {', '.join(CLASS_CHANGES)}", kind)
        change = {
            "event": body.event(),
            "kind": kind,
            "name": body.class_name("name"),
            "to": body.class_name("to") if kind in (RENAME, MERGE) else None,
            "annotator": person,
            "at": at(),
            "source": "page",
        }
        with self._lock:
            self.answers.record_all([change])
            return self._status(person)

    def _all_lines(self) -> Sequence[AskedLine]:
        lines = self._asked()
        if lines is not self._listed:
            self._listed, self._lines = lines, {line.ask: line for line in lines}
            self._tests = [line.index for line in lines if line.kind == "test"]
        return lines

    def _behind(self) -> int | None:
        """Return the number of answers since the ranking on the screen was made."""
        seq = self._facts().answers_seq
        return None if seq is None else max(0, self.answers.fold.seq - seq)

    def _item(self, line: AskedLine, behind: int | None) -> dict[str, Any]:
        return {
            "ask": line.ask,
            "index": line.index,
            "id": line.id,
            "kind": line.kind,
            "round": line.round,
            "suggestion": self._present_name(line.suggestion),
            "confidence": line.confidence,
            "behind": behind if line.kind == "query" else None,
        }

    def _present_name(self, suggestion: str | None) -> str | None:
        return suggestion if suggestion and self.answers.fold.classes.number(suggestion) is not None else None

    def _said(self, answer: Answer) -> dict[str, Any]:
        """Return an answer for the list of the last ones, with the present name of its class."""
        line = self._lines.get(-1 if answer.ask is None else answer.ask)
        said = next((one for one in self.answers.fold.said(answer.index) if one.seq == answer.seq), None)
        name = answer.label if said is None or said.label is None else self.answers.fold.classes.names[said.label]
        return {
            "seq": answer.seq,
            "event": answer.event,
            "kind": answer.kind,
            "label": name,
            "index": answer.index,
            "id": answer.id,
            "ask": answer.ask,
            "counts": said is not None,
            "suggestion": None if line is None else self._present_name(line.suggestion),
            "confidence": None if line is None else line.confidence,
        }

    def _status(self, person: str) -> dict[str, Any]:
        fold, facts = self.answers.fold, self._facts()
        self._all_lines()
        self._counts.update(fold)
        return {
            "run": self.run,
            "seq": fold.seq,
            "asked": len(self._lines),
            "classes": classes_of(fold, self._counts),
            "bought": self._counts.bought,
            "budget": self.budget,
            "mine": self._counts.by_person.get(person, 0),
            "people": len(self._counts.by_person),
            "test": tested(fold, self._tests),
            "accuracy": accuracy_of(facts),
            "ranking": {"behind": self._behind(), "rho": facts.rho, "round": facts.round},
            "trainer": {"phase": facts.phase, "error": facts.error},
            "prefetch": self.prefetch,
        }
