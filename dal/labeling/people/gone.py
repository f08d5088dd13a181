"""Events about images that are gone, and that are there again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from dal.data.sources.folder.gone import gone
from dal.labeling.people.answers import Answers
from dal.labeling.people.events import DAL, UNDO, UNREADABLE
from dal.labeling.people.fold import Fold
from dal.runs.asked import AskedLine


def note_gone(
    answers: Answers, points: Mapping[int, str], missing: Collection[int], asks: Mapping[int, int]
) -> tuple[list[int], list[int]]:
    """Answer ``unreadable`` in the name of dal for points that are missing, and take it back for those that are not.

    ``points`` maps indices to ids, and ``asks`` indices to lines of asked.csv. Returns the points that have become
    unreadable, and those that are there again. The events are on the disk when this returns.
    """
    fold = answers.fold
    drafts, lost, back = list[dict[str, Any]](), list[int](), list[int]()
    for index, id in points.items():
        event, seq = _standing(fold, index)
        common = {"annotator": DAL, "source": DAL, "ask": asks.get(index)}
        if index in missing and seq is None:
            drafts.append(common | {"event": event, "kind": UNREADABLE, "index": index, "id": id})
            lost.append(index)
        elif index not in missing and seq is not None:
            drafts.append(common | {"event": f"{event}-back", "kind": UNDO, "undoes": seq})
            back.append(index)
    if drafts:
        answers.record_all(drafts)
    return lost, back


def give_up(
    answers: Answers, root: Path, files: Sequence[str], lines: Sequence[AskedLine], image_of: Callable[[int], int] = int
) -> list[AskedLine]:
    """Answer ``unreadable`` in the name of dal for asked points whose files are gone, and return the other lines.

    ``image_of`` returns the number of a point's image, which is its place in ``files``, by default the point's own.
    """
    images = set(gone(root, files, list(dict.fromkeys(image_of(line.index) for line in lines))))
    points = {line.index: line.id for line in lines if image_of(line.index) in images}
    lost = set(points)
    note_gone(answers, points, lost, {line.index: line.ask for line in lines})
    return [line for line in lines if line.index not in lost]


def _standing(fold: Fold, index: int) -> tuple[str, int | None]:
    """Return the event by which dal says that a point is unreadable, and its seq, or the next such event and None.

    Several processes can notice the same image. The id of an event follows from the journal, so that it is recorded
    once.
    """
    for times in count():
        event = f"dal-unreadable-{index}" + (f"-{times}" if times else "")
        seq = fold.events.get(event)
        if seq is None or not fold.is_undone(seq):
            return event, seq
    raise AssertionError


def given_up(fold: Fold, seqs: Iterable[int]) -> Iterator[int]:
    """Yield the points that dal calls unreadable in the events with these seqs."""
    for seq in seqs:
        if fold.kind(seq) == UNREADABLE and fold.people[fold.annotators[seq]] == DAL:
            yield fold.indices[seq]
