"""Turns the answers that a browser sends into drafts of events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from dal.errors import DalError, bad_value, unknown_choice
from dal.labeling.people.events import ANSWERS, LABEL, MOST_SECONDS, NONE, UNDO, is_mask
from dal.labeling.people.fold import Fold
from dal.labeling.people.page.body import Body
from dal.labeling.people.page.mask_desk import MaskDesk
from dal.runs.asked import AskedLine

_LONGEST_DELAY_SECONDS = 30 * MOST_SECONDS
_MOST_DELAY_SECONDS = 10**12  # the clock of a browser may be wrong


class Drafts:
    """Completes answers with what the server knows: the id of the image, and what the page showed of it."""

    def __init__(
        self,
        person: str,
        ids: Sequence[str],
        lines: Mapping[int, AskedLine],
        behind: int | None = None,
        masks: MaskDesk | None = None,
    ) -> None:
        self.person, self.ids, self.lines, self.behind, self.masks = person, ids, lines, behind, masks

    def groups(self, given: Sequence[Body], fold: Fold) -> Iterator[list[Body]]:
        """Split answers before each undo of one of them, whose seq is not known earlier.

        All are checked before the first group, so that a request is recorded whole or not at all.
        """
        groups: list[list[Body]] = [[]]
        new: dict[str, str] = {}
        for one in given:
            event, kind = one.event(), self._kind(one)
            if kind == UNDO:
                self._check_target(one.text("undoes"), new, fold)
                if one.text("undoes") in {other.event() for other in groups[-1]}:
                    groups.append([])
            else:
                self._check_label(one, fold, int(self.draft(one, fold)["index"]))
            new[event] = kind
            groups[-1].append(one)
        yield from (group for group in groups if group)

    def draft(self, one: Body, fold: Fold) -> dict[str, Any]:
        """Return the draft of an event. Raises DalError for an image or answer that does not exist."""
        kind = self._kind(one)
        if kind == UNDO:
            return self._undo(one, fold)
        index = one.count("index", 2**53 - 1)
        if index >= len(self.ids):
            raise bad_value("index", f"an image of the run, from 0 to {len(self.ids) - 1}", index)
        given = one.text("id")
        if given not in (None, self.ids[index]):
            raise bad_value("id", f"{self.ids[index]!r}, the image with index {index}", given)
        ask = one.optional_count("ask")
        line = None if ask is None else self.lines.get(ask)
        if line is not None and line.index != index:
            line = None
        shown = line is not None and one.flag("shown")
        return {
            "event": one.event(),
            "kind": kind,
            "index": index,
            "id": self.ids[index],
            "label": one.text("label") if kind == LABEL else None,
            "annotator": self.person,
            "at": at(one.seconds("ago", _MOST_DELAY_SECONDS)),
            "seconds": one.seconds("seconds", MOST_SECONDS),
            "ask": None if line is None else line.ask,
            "score_round": None if line is None else line.round,
            "behind": None if line is None or line.kind != "query" else self.behind,
            "suggestion": (line.suggestion or None) if line is not None and shown else None,
            "source": "page",
        }

    def _undo(self, one: Body, fold: Fold) -> dict[str, Any]:
        seq = fold.events[str(one.text("undoes"))]
        target = fold.answer(seq)
        return {
            "event": one.event(),
            "kind": UNDO,
            "annotator": self.person,
            "at": at(one.seconds("ago", _MOST_DELAY_SECONDS)),
            "ask": None if target is None else target.ask,
            "undoes": seq,
            "source": "page",
        }

    def _kind(self, one: Body) -> str:
        kind = one.text("kind")
        if kind not in (*ANSWERS, UNDO):
            raise bad_value("kind", f"one of {', '.join((*ANSWERS, UNDO))}", kind)
        return str(kind)

    def _check_label(self, one: Body, fold: Fold, index: int) -> None:
        if self.masks is not None:
            if one.text("kind") == NONE:
                raise bad_value("kind", "a mask, or another answer that is no class", NONE)
            if one.text("kind") == LABEL and one.event() not in fold.events:
                self.masks.check(index, one.text("label"))
        elif one.text("kind") == LABEL:
            name = one.text("label")
            if name is None or is_mask(name) or fold.classes.resolved(name) is None:
                raise unknown_choice("label", fold.classes.offered, str(name))

    def _check_target(self, event: str | None, new: Mapping[str, str], fold: Fold) -> None:
        if event in new and new[str(event)] != UNDO:
            return
        target = fold.answer(fold.events.get(str(event), 0))
        if target is None:
            raise bad_value("undoes", "the event of an answer", event)
        if target.annotator != self.person:
            raise DalError(f"undoes: expected an answer of {self.person}, got one of {target.annotator}.")


def at(ago: float | None = None) -> str:
    """Return the UTC time of an answer that was given ``ago`` seconds before now.

    The clock of the browser may be wrong, so only differences of it count.
    """
    delay = min(ago or 0.0, _LONGEST_DELAY_SECONDS)
    return (datetime.now(UTC) - timedelta(seconds=delay)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
