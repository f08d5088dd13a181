"""LabelingSession: what the page asks of a run. It ties the answers, the wanted images and the leases together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from dal.errors import DalError, bad_value
from dal.labeling.people.answers import Answers
from dal.labeling.people.classes import is_mask_number
from dal.labeling.people.events import ADD, CLASS_CHANGES, DAL, MERGE, RENAME, SKIP, UNDO, Answer
from dal.labeling.people.leases import Leases
from dal.labeling.people.page.body import Body
from dal.labeling.people.page.drafts import Drafts, at
from dal.labeling.people.page.facts import Facts
from dal.labeling.people.page.lease_file import LeaseFile
from dal.labeling.people.page.mask_desk import MaskDesk
from dal.labeling.people.page.status import Counts, accuracy_of, classes_of, nothing_to_label, tested
from dal.labeling.people.page.tabs import Tabs
from dal.labeling.people.wanted import behind, wanted
from dal.runs.asked import AskedLine

MOST_LEASED = 64
_MOST_RECENT = 100


class LabelingSession:
    """The state behind the page. Each public method answers one kind of request, and threads may call it at once.

    ``asked`` returns the lines of asked.csv, and the same list until they change. ``facts`` returns what is known
    about the model. ``run`` identifies the run, so that a browser sends answers to no other. ``ids`` are the points by
    index. ``give_up`` records that images are gone, and returns the lines of the others. ``clock`` is the time in
    seconds that leases use. ``masks`` is for runs in which people draw masks.
    """

    def __init__(
        self,
        answers: Answers,
        asked: Callable[[], Sequence[AskedLine]],
        ids: Sequence[str],
        leases: Leases,
        *,
        lease_file: Path | None = None,
        run: str = "run",
        facts: Callable[[], Facts] = Facts,
        budget: int | None = None,
        prefetch: int = 8,
        give_up: Callable[[Sequence[AskedLine]], Sequence[AskedLine]] = list,
        clock: Callable[[], float] = time.time,
        masks: MaskDesk | None = None,
    ) -> None:
        self.masks = masks
        self.answers, self.ids, self.run, self.budget, self.prefetch = answers, ids, run, budget, prefetch
        self._asked, self._facts, self._clock, self._give_up = asked, facts, clock, give_up
        self._leases, self._tabs, self._counts = leases, Tabs(), Counts()
        self._file = LeaseFile(lease_file, leases, clock())
        self._lines: dict[int, AskedLine] = {}
        self._tests: list[int] = []
        self._listed: Sequence[AskedLine] | None = None

    def lease(self, body: Body) -> dict[str, Any]:
        """Return images for a tab, best first, and which of the images in its hands are still wanted."""
        person, tab, reloaded = body.annotator(), body.tab(), body.reloaded()
        count, have = body.count("count", MOST_LEASED), set(body.counts("have"))
        wants = bool(count)
        with self.answers.mutex:
            now, fold = self._clock(), self.answers.refresh()
            self._tabs.meet(person, set(self._leases.holds(person, now)) - have, now)
            if reloaded is not None:
                self._tabs.reload(person, reloaded)
            elsewhere = self._tabs.elsewhere(person, tab, have, now)
            while True:
                lines = wanted(self._all_lines(), fold, self._leases.overlap)
                held = [line for line in lines if line.index in have - elsewhere]
                kept = self._leases.take(person, len(held), held, fold, now)
                free = [line for line in lines if line.index not in have | elsewhere]
                most = min(count, self._affordable(person, lines, kept, now))
                taken = self._leases.take(person, most, free, fold, now) if most else []
                if not self._are_gone(person, [*kept, *taken]):
                    break
            self._tabs.hold(person, tab, [line.index for line in (*kept, *taken)], now)
            self._file.save()
            found = {
                "items": [self._item(line) for line in taken],
                "kept": [line.index for line in kept],
                "status": self._status(),
            }
            if wants and not taken and not kept:
                found["nothing"] = nothing_to_label(self._facts(), len(lines), fold.bought, self.budget)
            return found

    def _are_gone(self, person: str, lines: Sequence[AskedLine]) -> bool:
        """Give up images that are gone, and return whether there are any."""
        there = {line.index for line in self._give_up(lines)}
        lost = [line.index for line in lines if line.index not in there]
        for index in lost:
            self._leases.release(person, index)
        return bool(lost)

    def _affordable(self, person: str, lines: Sequence[AskedLine], kept: Sequence[AskedLine], now: float) -> int:
        """Return how many images the rest of the budget allows a person besides those that all have in their hands."""
        if self.budget is None:
            return MOST_LEASED
        # The images that the person took before a reload of the page come first, so they are not in other hands.
        again = {line.index for line in lines} & set(self._leases.holds(person, now)) - {line.index for line in kept}
        in_hands = self._leases.held((line.index for line in lines), now) - len(again)
        return max(0, self.budget - self.answers.fold.bought - in_hands)

    def answer(self, body: Body) -> dict[str, Any]:
        """Record answers and undos in their order. They are on the disk when this returns."""
        person, tab, given = body.annotator(), body.tab(), body.bodies("answers")
        with self.answers.mutex:
            fold = self.answers.refresh()
            self._all_lines()
            drafts = Drafts(person, self.ids, self._lines, self._behind(), self.masks)
            saved: dict[str, int] = {}
            second: list[dict[str, str]] = []
            for group in drafts.groups(given, fold):
                made = [drafts.draft(one, self.answers.fold) for one in group]
                late = self._second_opinions(made)
                self._keep_undone(person, made)
                for event, is_new in self.answers.record_all(made):
                    saved[event.event] = event.seq
                    # An answer that comes again says nothing about who has the image now.
                    if is_new and isinstance(event, Answer):
                        self._settle(event, person, tab)
                    if is_new and event.event in late:
                        second.append(late[event.event])
            self._file.save()
            return {"saved": saved, "second": second, "status": self._status()}

    def mask(self, body: Body) -> dict[str, Any]:
        """Store the mask of a unit, and return the label with which an answer names it."""
        body.annotator()
        if self.masks is None:
            raise DalError("mask: expected a class, because people draw no masks in this run.")
        index = body.count("index", len(self.ids) - 1)
        return {"label": self.masks.take(index, body.text("name"), body.text("data"))}

    def _second_opinions(self, drafts: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
        """Return, by event, the images of new answers that other people have answered, and who was first."""
        found = {}
        for draft in drafts:
            said = self.answers.fold.said(draft["index"]) if draft["kind"] not in (UNDO, SKIP) else []
            others = [one.annotator for one in said if one.kind != SKIP and one.annotator != DAL]
            if len(others) >= self._leases.overlap and draft["annotator"] not in others:
                found[str(draft["event"])] = {"id": str(draft["id"]), "by": others[0]}
        return found

    def _keep_undone(self, person: str, made: Sequence[Mapping[str, Any]]) -> None:
        """Lease the images of new undos, which the person sees again, also those that no ranking wants at present.

        The leases are written before the undos, so that a killed server gives the images to nobody else.
        """
        now, fold = self._clock(), self.answers.fold
        for draft in made:
            if draft["kind"] == UNDO and draft["event"] not in fold.events:
                self._leases.keep(person, fold.indices[draft["undoes"]], fold, now)
        self._file.save()

    def _settle(self, event: Answer, person: str, tab: str) -> None:
        """Give an answered image back. The image of an undo stays with the tab, unless another answer counts."""
        now, fold = self._clock(), self.answers.fold
        if event.kind != UNDO or person in fold.settled_by(event.index):
            self._leases.release(person, event.index)
            self._tabs.drop(person, [event.index])
        elif event.index in self._leases.holds(person, now):
            self._tabs.hold(person, tab, [event.index], now)

    def status(self, body: Body) -> dict[str, Any]:
        """Return the numbers, the classes and what the trainer does."""
        person, tab = body.annotator(), body.tab()
        with self.answers.mutex:
            self.answers.refresh()
            self._tabs.hold(person, tab, [], self._clock())
            return self._status()

    def recent(self, body: Body) -> dict[str, Any]:
        """Return a person's last answers, newest first. ``before`` is the seq at which to go on."""
        person, count = body.annotator(), body.count("count", _MOST_RECENT)
        with self.answers.mutex:
            fold = self.answers.refresh()
            self._all_lines()
            before = body.optional_count("before") or fold.seq + 1
            earlier = (seq for seq in fold.answers_of(person) if seq < before and not fold.is_undone(seq))
            seqs = list(islice(earlier, count))
            if not seqs:
                return {"answers": []}
            within, since = set(seqs), seqs[-1] - 1
            events = {e.seq: e for e in islice(self.answers.events(since), seqs[0] - since) if e.seq in within}
            return {"answers": [self._said(event) for seq in seqs if isinstance(event := events[seq], Answer)]}

    def release(self, body: Body) -> dict[str, Any]:
        """Give the images of a tab back, because it is closed."""
        person, tab = body.annotator(), body.tab()
        with self.answers.mutex:
            for index in self._tabs.close(person, tab):
                self._leases.release(person, index)
            self._file.save()
        return {}

    def change_class(self, body: Body) -> dict[str, Any]:
        """Add, rename, merge or retire a class."""
        person, kind = body.annotator(), body.text("kind")
        if kind not in CLASS_CHANGES:
            raise bad_value("kind", f"one of {', '.join(CLASS_CHANGES)}", kind)
        change = {
            "event": body.event(),
            "kind": kind,
            "name": body.class_name("name", is_new=kind == ADD),
            "to": body.class_name("to", is_new=kind == RENAME) if kind in (RENAME, MERGE) else None,
            "annotator": person,
            "at": at(),
            "source": "page",
        }
        with self.answers.mutex:
            self.answers.record(change)
            return self._status()

    def _all_lines(self) -> Sequence[AskedLine]:
        lines = self._asked()
        if lines is not self._listed:
            self._listed, self._lines = lines, {line.ask: line for line in lines}
            self._tests = [line.index for line in lines if line.kind == "test"]
        return lines

    def _behind(self) -> int | None:
        """Return the number of answers since the ranking on the screen was made."""
        seq = self._facts().answers_seq
        return None if seq is None else behind(self.answers.fold, seq)

    def _item(self, line: AskedLine) -> dict[str, Any]:
        return {
            **self._unit(line.index),
            "ask": line.ask,
            "index": line.index,
            "id": line.id,
            "purpose": line.kind,
            "suggestion": self._present_name(line.suggestion),
            "confidence": line.confidence,
        }

    def _unit(self, index: int) -> dict[str, Any]:
        return {} if self.masks is None else self.masks.item(index)

    def _present_name(self, suggestion: str | None) -> str | None:
        return suggestion if suggestion and self.answers.fold.classes.number(suggestion) is not None else None

    def _said(self, answer: Answer) -> dict[str, Any]:
        """Return an answer for the list of the last ones, with the present name of its class."""
        fold = self.answers.fold
        line = self._lines.get(-1 if answer.ask is None else answer.ask)
        number = None if answer.label is None else fold.classes.merged(fold.labels[answer.seq])
        label = None if number is None or is_mask_number(number) else fold.classes.names[number]
        return {
            **self._unit(answer.index),
            "seq": answer.seq,
            "event": answer.event,
            "kind": answer.kind,
            "label": answer.label if is_mask_number(number) else label,
            "index": answer.index,
            "id": answer.id,
            "ask": answer.ask,
            "purpose": None if line is None else line.kind,
            "suggestion": None if line is None else self._present_name(line.suggestion),
            "confidence": None if line is None else line.confidence,
        }

    def _status(self) -> dict[str, Any]:
        fold, facts = self.answers.fold, self._facts()
        self._all_lines()
        return {
            "run": self.run,
            "seq": fold.seq,
            "asked": len(self._lines),
            "classes": classes_of(fold, self._counts.of(fold)),
            "bought": fold.bought,
            "budget": self.budget,
            "unreadable": len(self._counts.unreadable),
            "people": sum(name != DAL for name in fold.people),
            "test": tested(fold, self._tests),
            "accuracy": accuracy_of(facts),
            "ranking": {"behind": self._behind(), "rho": facts.rho, "round": facts.round},
            "trainer": {"phase": facts.phase, "error": facts.error, "done": facts.stopped is not None},
            "prefetch": self.prefetch,
            "masks": self.masks is not None,
            "miou": facts.miou,
        }
