"""The numbers that the page shows beside an image."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from dal.labeling.people.fold import Fold
from dal.labeling.people.page.facts import Facts
from dal.runs.wilson import wilson_interval

_SHARE_OF_TIME = 0.05


class Counts:
    """Counts the labels of each class.

    Counting a journal with many points takes a while, so it happens for 5 % of the time at most.
    """

    def __init__(self) -> None:
        self.by_class: dict[int, int] = {}
        self._seq, self._not_before = -1, 0.0

    def update(self, fold: Fold) -> None:
        """Count again if there are new events."""
        begun = time.monotonic()
        if fold.seq == self._seq or begun < self._not_before:
            return
        self.by_class, self._seq = {}, fold.seq
        for index in fold.points():
            label = fold.decision(index).label
            if label is not None:
                self.by_class[label] = self.by_class.get(label, 0) + 1
        now = time.monotonic()
        self._not_before = now + (now - begun) / _SHARE_OF_TIME


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
    if facts.error is not None:
        return {"kind": "error", "sentence": "Nothing to label now: the trainer has stopped."}
    if budget is not None and bought >= budget:
        return {"kind": "done", "sentence": f"Done: the budget of {budget:,} labels is spent."}
    if facts.stopped is not None:
        return {"kind": "done", "sentence": f"Done: the campaign has ended ({facts.stopped})."}
    if wanted:
        images = "image is" if wanted == 1 else f"{wanted} images are"
        return {"kind": "others", "sentence": f"Nothing to label now: the last {images} open in another window."}
    if facts.phase == "stopped":
        return {"kind": "error", "sentence": "Nothing to label now: no trainer is running."}
    return {"kind": "waiting", "sentence": "Nothing to label now: the model chooses the next images."}
