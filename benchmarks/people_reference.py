"""A second, slow reading of a journal of answers, which shares no code with dal.

`people_kills.py` compares dal's decisions, classes and counts with it.

This module has no command: see people_kills.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Event = Mapping[str, Any]
Decision = tuple[str, int | None]
"""A status and the number of a class."""


@dataclass
class Reference:
    """What events say together. Each call looks at all answers of an image again."""

    names: list[str]
    offered: dict[str, int] = field(default_factory=dict)
    former: dict[str, int] = field(default_factory=dict)
    retired: dict[str, int] = field(default_factory=dict)
    into: dict[int, int] = field(default_factory=dict)
    answers: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    by_seq: dict[int, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, classes: Sequence[str], events: Iterable[Event]) -> Reference:
        found = cls(list(classes))
        found.offered = {name: number for number, name in enumerate(classes)}
        for event in events:
            found.add(event)
        return found

    def add(self, event: Event) -> None:
        kind = event["kind"]
        if kind.endswith("_class"):
            self.change(kind, event["name"], event["to"])
        elif kind == "undo":
            self.by_seq[event["undoes"]]["undone"] = True
        else:
            number = None
            if kind == "label":
                name = event["label"]
                number = self.offered[name] if name in self.offered else self.former[name]
            answer = {"seq": event["seq"], "person": event["annotator"], "kind": kind, "number": number}
            self.by_seq[event["seq"]] = answer
            self.answers.setdefault(event["index"], []).append(answer)

    def change(self, kind: str, name: str, to: str | None) -> None:
        if kind == "add_class":
            assert name not in self.offered, name
            if name in self.retired:
                self.offered[name] = self.retired.pop(name)
            else:
                self.offered[name] = len(self.names)
                self.names.append(name)
            return
        number = self.former[name] = self.offered.pop(name)
        if kind == "rename_class":
            assert to is not None and to not in self.offered and to not in self.retired, to
            self.offered[to] = number
            self.names[number] = to
        elif kind == "merge_class":
            assert to is not None
            self.into[number] = self.offered[to]
        else:
            self.retired[name] = number

    def present(self, index: int) -> list[dict[str, Any]]:
        """Return the last answer of each person that is not taken back, in the order of the journal."""
        last = {one["person"]: one for one in self.answers.get(index, ()) if not one.get("undone")}
        return sorted(last.values(), key=lambda one: one["seq"])

    def settled(self, index: int) -> set[str]:
        """Return the people whose present answer is any but skip."""
        return {one["person"] for one in self.present(index) if one["kind"] != "skip"}

    def decision(self, index: int) -> Decision:
        """Return the most frequent label or none, of equals the first. Otherwise unreadable, unsure or open.

        If dal itself says that an image is unreadable, it is.
        """
        present = self.present(index)
        if any(one["person"] == "dal" and one["kind"] == "unreadable" for one in present):
            return "unreadable", None
        votes: list[Decision] = [
            (one["kind"], self.merged(one["number"])) for one in present if one["kind"] in ("label", "none")
        ]
        if votes:
            most = max(votes.count(vote) for vote in votes)
            return next(vote for vote in votes if votes.count(vote) == most)
        kinds = [one["kind"] for one in present]
        return next(((kind, None) for kind in ("unreadable", "unsure") if kind in kinds), ("open", None))

    def merged(self, number: int | None) -> int | None:
        while number in self.into:
            number = self.into[number]
        return number

    def bought(self) -> int:
        """Return how many answers are paid."""
        return sum(one["kind"] in ("label", "none", "unsure") for index in self.answers for one in self.present(index))

    def counts(self, held: Mapping[str, set[int]], unreadable: set[int]) -> dict[str, int]:
        """Return the counts that a line of rounds.jsonl has too. ``held`` are the images that are not trained on."""
        decided = {index: self.decision(index)[0] for index in self.answers}
        labeled = {index for index, status in decided.items() if status in ("label", "none")}
        return {
            "num_labeled": len(labeled.difference(*held.values(), unreadable)),
            **{f"num_{kind}": len(labeled & indices) for kind, indices in held.items()},
            "num_none": sum(status == "none" for status in decided.values()),
            "num_unsure": sum(status == "unsure" for status in decided.values()),
            "labels_bought": self.bought(),
        }
