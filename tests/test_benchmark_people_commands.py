"""The benchmarks of `dal label`: kills without a trainer, ten people at once, and the start, at a small size."""

import random
import sys
from dataclasses import fields

import pandas as pd
from helpers.benchmark_scripts import imported

from dal.labeling.people.events import Answer, ClassChange, event_of
from dal.labeling.people.fold import Fold

FAULTS = (
    "lost",
    "events twice",
    "other seq",
    "gaps",
    "nobody's",
    "images twice",
    "handed twice",
    "refused",
    "other decisions",
)


def tables(script, monkeypatch, folder, *arguments):
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--quick", "--results", str(folder), *map(str, arguments)])
    assert imported(script).main() == 0
    (written,) = folder.glob("*")
    return {path.stem: pd.read_csv(path) for path in written.glob("*.csv")}


def test_killed_pages_lose_no_answer_and_ten_people_label_no_image_twice(tmp_path, monkeypatch):
    arguments = ("--kills", 2, "--images", 200, "--answers", 4, "--no-train")
    found = tables("people_kills", monkeypatch, tmp_path, *arguments)
    assert list(found["kills"]["kills"]) == [2, 1]
    assert (found["journal"]["acknowledged"] > 0).all() and found["journal"]["torn"].sum() > 0
    assert found["sent"]["changes of classes"].eq(15).all()
    for name in FAULTS:
        assert found["journal"][name].eq(0).all() and found["load"][name].eq(0).all(), name
    assert found["load"]["acknowledged"].eq(40).all()
    assert list(found["load"]["people"]) == ["1:40", "2:20"]


def test_the_second_reading_of_a_journal_agrees_with_that_of_dal():
    reference, chance = imported("people_reference").Reference, random.Random(0)
    classes, events = ["cat", "dog", "cow"], []
    changes = [("rename_class", "cat", "Cat"), ("add_class", "cat", None), ("merge_class", "cat", "dog")]
    changes += [("retire_class", "cow", None), ("add_class", "cow", None)]
    for seq in range(1, 601):
        event = {"seq": seq, "event": f"e{seq}", "annotator": chance.choice("ab"), "undoes": None}
        own = [one for one in events if one["annotator"] == event["annotator"] and "index" in one]
        if seq % 100 == 0:
            kind, name, to = changes[seq // 100 - 1]
            events.append({**event, "kind": kind, "name": name, "to": to})
            if len(changes) == seq // 100:
                break
        elif own and chance.random() < 0.2:
            target = chance.choice([one for one in own if one["kind"] != "undo"])
            events.append({**event, "kind": "undo", "index": target["index"], "undoes": target["seq"]})
        else:
            kind = chance.choice(["label", "label", "none", "skip", "unsure", "unreadable"])
            named = {"label": chance.choice(classes) if kind == "label" else None}
            events.append({**event, **named, "kind": kind, "index": chance.randrange(60)})
    found = reference.of(classes, events)
    fold = Fold.of(classes, [event_of(one) for one in map(whole, events)])
    assert [found.decision(index) for index in range(60)] == [
        ((decision := fold.decision(index)).status, decision.label) for index in range(60)
    ]
    assert (found.names, found.bought()) == (fold.classes.names, fold.bought)
    found.add({**events[0], "seq": 1000, "annotator": "c", "kind": "none"})
    assert found.bought() == fold.bought + 1


def whole(event):
    """The event with all its keys, in order."""
    kind = ClassChange if "name" in event else Answer
    given = {key: value for key, value in event.items() if key != "undoes" or kind is Answer}
    values = {"id": "x"} | given if kind is Answer else given
    return {field.name: values.get(field.name, field.default) for field in fields(kind)}


def test_the_start_and_the_fold_are_measured(tmp_path, monkeypatch):
    found = tables("people_start", monkeypatch, tmp_path, "--images", 30, "--events", 500, "--repeats", 1)
    assert list(found["start"]["note"]) == ["first start", "started again"]
    assert (found["start"]["memory MB"] > 0).all() and found["fold"]["events"].eq(500).all()
