"""Labels that changed after a model was trained on them."""

from __future__ import annotations

from dal.labeling.people.events import LABEL, NONE
from dal.labeling.people.fold import Fold

Labels = dict[int, int | None]


def labels_of(fold: Fold) -> Labels:
    """Return the label of each point that has one: the number of its class, or None for none of the classes.

    >>> from dal.labeling.people.events import Answer
    >>> labels_of(Fold.of(["cat", "dog"], [Answer(1, "a", "label", 7, "7.jpg", "dog"), Answer(2, "b", "skip", 8, "8")]))
    {7: 1}
    """
    decisions = ((index, fold.decision(index)) for index in fold.points())
    return {index: decision.label for index, decision in decisions if decision.status in (LABEL, NONE)}


def num_changed(seen: Labels, fold: Fold) -> int:
    """Return how many of the labels that a model has seen are others now, or taken back."""
    count = 0
    for index, label in seen.items():
        decision = fold.decision(index)
        count += decision.status not in (LABEL, NONE) or decision.label != label
    return count
