"""The identity of data: digests, with the points that they summarize."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from dal.tasks.base import OUT_OF_CLASS, Task

Points = dict[str, Any]
"""The class names, and for each split the ids, labels in words, and content digests in hexadecimal."""


class Fingerprint(str):
    """Digests of the data, separated by hyphens.

    ``points()`` returns the points, so that a run folder can name what has changed.

    >>> Fingerprint("1f-2b-3c", dict) == "1f-2b-3c"
    True
    """

    points: Callable[[], Points]

    def __new__(cls, digests: str, points: Callable[[], Points]) -> Fingerprint:
        made = super().__new__(cls, digests)
        made.points = points
        return made

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        # A copy in another process needs the digests only.
        return str, (str(self),)


def labels_in_words(task: Task, labels: Tensor, classes: Sequence[str]) -> list[str]:
    """Return the names of the classes of each label.

    >>> import torch
    >>> from dal.tasks import CLASSIFICATION
    >>> labels_in_words(CLASSIFICATION, torch.tensor([1, -1, -2]), ["cat", "dog"])
    ['dog', 'unlabeled', 'none of the classes']
    """
    words = []
    for is_known, answer in zip(task.known(labels).tolist(), task.decode(labels), strict=True):
        if is_known:
            numbers = answer if isinstance(answer, tuple) else (answer,)
            words.append(";".join(str(classes[number]) for number in numbers) or "none of the classes")
        else:
            words.append("none of the classes" if answer == OUT_OF_CLASS else "unlabeled")
    return words
