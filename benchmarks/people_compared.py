"""Compares the journal of a run with what clients know, and dal's reading of it with the reference.

This module has no command: see people_kills.py.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import Row
from people_clients import UNREADABLE, Client, Team, joined
from people_reference import Event, Reference

from dal.labeling.people.answers import Answers

KINDS = ("label", "skip", "none", "unsure", "unreadable", "undo", "correction", "late", "repeat")


def sent(clients: Sequence[Client]) -> Row:
    """Return the counts of what people did."""
    did = sum((client.did for client in clients), Counter[str]())
    return {
        **{kind: did[kind] for kind in KINDS},
        "changes of classes": sum(count for kind, count in did.items() if kind.endswith("_class")),
        "repeats after a kill": sum(client.repeated for client in clients),
    }


def compared(run: Path, clients: Sequence[Client], team: Team, classes: Sequence[str]) -> Row:
    """Return the counts of events, and of faults. Print the first faults of each kind."""
    events = [json.loads(line) for line in (run / "answers.jsonl").read_text().splitlines()]
    saved = joined(clients, lambda client: client.saved)
    expected = acknowledged(events, clients)
    by_dal = [event for event in events if event["annotator"] == "dal"]
    asked = read_asked(run)
    reference = Reference.of(classes, expected)
    people = images_by_people(reference, clients, team)
    faults = {
        "lost": lost(events, saved),
        "events twice": [name for name, count in Counter(event["event"] for event in events).items() if count > 1],
        "other seq": team.changed,
        "gaps": [event["seq"] for place, event in enumerate(events, 1) if event["seq"] != place]
        + [line["ask"] for place, line in enumerate(asked) if int(line["ask"]) != place],
        "nobody's": [event["event"] for event in events if event["annotator"] != "dal" and event["event"] not in saved],
        "images twice": people.pop("images twice"),
        "handed twice": team.handed_twice,
        "refused": team.refused,
        "other decisions": other_decisions(run, classes, reference),
        "other rounds": other_rounds(run, classes, expected, asked),
    }
    for name, found in faults.items():
        if found:
            print(f"{name}: {len(found)}", *found[:5], sep="\n  ")
    return {
        "acknowledged": len(saved),
        "by dal": len(by_dal),
        **{name: len(found) for name, found in faults.items()},
        **people,
    }


def lost(events: Sequence[Event], saved: Mapping[str, tuple[int, Event]]) -> list[str]:
    """Return the acknowledged events that the journal does not have as they were sent, at their place."""
    by_id, seqs = {event["event"]: event for event in events}, {event["seq"]: event["event"] for event in events}

    def is_there(name: str, seq: int, sent: Event) -> bool:
        there = by_id.get(name)
        if there is None or there["kind"] != sent["kind"] or (seq and there["seq"] != seq):
            return False
        if sent["kind"] == "undo":
            return seqs.get(there["undoes"]) == sent["undoes"]
        return all(there[key] == sent.get(key) for key in ("index", "label", "name", "to") if key in there)

    return [name for name, (seq, sent) in saved.items() if not is_there(name, seq, sent)]


def acknowledged(events: Sequence[Event], clients: Sequence[Client]) -> list[dict[str, Any]]:
    """Return what the clients sent, in the order that the page told them, with the answers of dal itself.

    The page does not tell the place of a change of the classes, so this one is that of the journal.
    """
    seqs = {event["event"]: event["seq"] for event in events}
    found = [event for event in events if event["annotator"] == "dal"]
    for client in clients:
        for name, (told, sent) in client.saved.items():
            seq = told or seqs.get(name, 0)
            undoes = client.saved[sent["undoes"]][0] if "undoes" in sent else None
            found.append({"label": None, **sent, "seq": seq, "annotator": client.person, "undoes": undoes})
    return sorted(found, key=lambda event: int(event["seq"]))


def images_by_people(reference: Reference, clients: Sequence[Client], team: Team) -> dict[str, Any]:
    """Return the images that have more people than the overlap, and how many have them because of a late answer.

    An answer is late if the person did not have the image any more: it left a closed page too late, or it replaces a
    skip or an undone answer.
    """
    late = {client.saved[name][0] for client in clients for name in client.late if name in client.saved}
    twice, opinions = [], 0
    numbers: Counter[int] = Counter()
    for index in reference.answers:
        present = [one for one in reference.present(index) if one["person"] != "dal" and one["kind"] != "skip"]
        numbers[len(present)] += 1
        if len(present) > team.overlap:
            in_time = sum(one["seq"] not in late for one in present)
            if in_time > team.overlap:
                twice.append(f"{index}: {reference.answers[index]}")
            else:
                opinions += 1
    text = " ".join(f"{number}:{count}" for number, count in sorted(numbers.items()) if number)
    return {"images twice": twice, "late opinions": opinions, "people": text}


def other_decisions(run: Path, classes: Sequence[str], reference: Reference) -> list[str]:
    """Return what dal's reading of the journal and the reference do not agree on."""
    fold = Answers(run, classes).read()
    found = []
    for index in sorted({*reference.answers, *fold.points()}):
        decision = fold.decision(index)
        if (decision.status, decision.label) != reference.decision(index):
            found.append(f"{index}: {decision}, {reference.decision(index)}")
    pairs = {
        "names": (fold.classes.names, reference.names),
        "offered": (set(fold.classes.offered), set(reference.offered)),
        "bought": (fold.bought, reference.bought()),
    }
    return found + [f"{name}: {one}, {other}" for name, (one, other) in pairs.items() if one != other]


def other_rounds(
    run: Path, classes: Sequence[str], events: Sequence[Event], asked: Sequence[Mapping[str, str]]
) -> list[str]:
    """Return the counts in rounds.jsonl that differ from those of the events that the round saw."""
    path = run / "rounds.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    held = {kind: {int(line["index"]) for line in asked if line["kind"] == kind} for kind in ("test", "validation")}
    unreadable = {int(line["index"]) for line in asked if line["id"].endswith(f"-{UNREADABLE}.png")}
    found = []
    for row in rows:
        reference = Reference.of(classes, [event for event in events if event["seq"] <= row["answers_seq"]])
        for name, count in reference.counts(held, unreadable).items():
            # What was paid stays paid, also for an answer that was taken back between two looks of the trainer.
            is_paid = name == "labels_bought" and count <= row[name] <= count + undone_before(
                events, row["answers_seq"]
            )
            if row[name] != count and not is_paid:
                found.append(f"round {row['round']}: {name} {row[name]}, {count}")
    return found


def undone_before(events: Sequence[Event], seq: int) -> int:
    return sum(event["kind"] == "undo" and event["seq"] <= seq for event in events)


def read_asked(run: Path) -> list[dict[str, str]]:
    path = run / "asked.csv"
    if not path.exists():
        return []
    text = path.read_text()
    return [*csv.DictReader(text[: text.rfind("\n") + 1].splitlines())]
