"""The numbers that the page shows beside an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dal.labeling.people.classes import is_mask_number
from dal.labeling.people.events import UNREADABLE
from dal.labeling.people.fold import Decision, Fold
from dal.labeling.people.page.facts import Facts
from dal.runs.stopped import why_stopped
from dal.runs.wilson import wilson_interval


class Counts:
    """Counts the labels of each class. Each call looks only at the points of the events since the last one.

    ``unreadable`` are the points whose images nobody can see, such as those that are gone.
    """

    def __init__(self) -> None:
        self._fold: Fold | None = None
        self._seq = 0
        self._labels: dict[int, int] = {}  # by point
        self._counts: Counter[int] = Counter()
        self.unreadable: set[int] = set()

    def of(self, fold: Fold) -> Mapping[int, int]:
        """Return the number of labels by the number of the class."""
        new = range(self._seq + 1, fold.seq + 1)
        # A merge changes the labels of many points.
        if fold is not self._fold or any(fold.indices[seq] < 0 for seq in new):
            self._labels, self._counts, self.unreadable = {}, Counter(), set()
            points: Iterable[int] = fold.points()
        else:
            points = {fold.indices[seq] for seq in new}
        for index in points:
            self._put(index, fold.decision(index))
        self._fold, self._seq = fold, fold.seq
        return self._counts

    def _put(self, index: int, decision: Decision) -> None:
        label = decision.label
        (self.unreadable.add if decision.status == UNREADABLE else self.unreadable.discard)(index)
        before = self._labels.pop(index, None)
        if before is not None:
            self._counts[before] -= 1
        if label is not None and not is_mask_number(label):
            self._labels[index] = label
            self._counts[label] += 1


def classes_of(fold: Fold, counts: Mapping[int, int]) -> list[dict[str, Any]]:
    """Return the classes that people can choose, with their numbers."""
    return [
        {"number": number, "name": name, "count": counts.get(number, 0)}
        for number, name in enumerate(fold.classes.names)
        if fold.classes.is_offered(number)
    ]


def accuracy_of(facts: Facts) -> dict[str, Any] | None:
    """Return the accuracy on the test set with its interval, or None if it is not known."""
    if facts.accuracy is None or facts.num_test < 1:
        return None
    low, high = wilson_interval(round(facts.accuracy * facts.num_test), facts.num_test)
    return {"value": facts.accuracy, "low": low, "high": high, "count": facts.num_test}


def tested(fold: Fold, test_indices: Sequence[int]) -> dict[str, int]:
    """Return how many images of the test set are answered."""
    return {"answered": sum(bool(fold.settled_by(i)) for i in test_indices), "size": len(test_indices)}


def nothing_to_label(facts: Facts, wanted: int, bought: int, budget: int | None) -> dict[str, str]:
    """Return why there is no image for a person, as a kind and a sentence."""
    if facts.phase == "restarting":
        return {"kind": "waiting", "sentence": "Nothing to label now: the trainer died and starts again soon."}
    if facts.error is not None:
        return {"kind": "error", "sentence": "Nothing to label now: the trainer has stopped."}
    if budget is not None and bought >= budget:
        return {
            "kind": "done",
            "sentence": f"Done: the budget of {budget:,} label{'' if budget == 1 else 's'} is spent.",
        }
    if facts.stopped is not None:
        return {"kind": "done", "sentence": f"Done: {why_stopped(facts.stopped)}."}
    if wanted:
        images = "image is" if wanted == 1 else f"{wanted:,} images are"
        return {"kind": "others", "sentence": f"Nothing to label now: the last {images} open in another window."}
    if facts.phase == "stopped":
        return {"kind": "error", "sentence": "Nothing to label now: no trainer is running."}
    return {"kind": "waiting", "sentence": "Nothing to label now: the model chooses the next images."}
