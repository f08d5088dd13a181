"""The identity of data: digests, with the points that they summarize."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from dal.data.image_sources import ImageSource, digest, image_digests, image_marks
from dal.data.masks import MaskSource, masks_in_words
from dal.tasks.base import OUT_OF_CLASS, Task

LOOKS = "~"
Points = dict[str, Any]
"""The class names, and for each split the ids, labels in words, and content digests and marks in hexadecimal."""


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


def fingerprint(train: Identity, tests: Sequence[Identity | None] = ()) -> Fingerprint:
    """Return digests that identify a training set and up to one test set, separated by hyphens.

    The first three cover the ids (in order) with the classes, the labels or masks, and the content of the images, which
    is empty if the source has no content digests. The fourth covers the test set. If the source has marks in place of
    content digests, the fifth covers those of the training set, and the sixth those of the test set. They are last,
    because runs of older versions have at most four. Marks of looks begin with ``~``: they are compared only with each
    other.
    """
    rest = [test for test in tests if test is not None]
    parts = [*train.parts, *([] if not tests else [digest([rest[0].text.encode()]).hex() if rest else ""])]
    marks = [one.marks_digest for one in (train, *rest)]
    if any(marks):
        parts += [*[""] * (4 - len(parts)), *marks]

    def points() -> Points:
        found = {"classes": list(train.classes), "train": train.points()}
        return found | {"test": rest[0].points()} if rest else found

    return Fingerprint("-".join(parts), points)


class Identity:
    """The digests of one set of images. The arguments are the fields of ImageData."""

    def __init__(
        self,
        ids: Sequence[str],
        labels: Tensor,
        classes: Sequence[str],
        task: Task,
        source: ImageSource,
        masks: MaskSource | None,
    ) -> None:
        self.ids, self.labels, self.classes, self.task, self.masks = ids, labels, classes, task, masks
        every = range(len(ids))
        names = (text.encode(errors="surrogatepass") + b"\x1f" for text in (*classes, "\x1e", *ids))
        of_masks = None if masks is None else image_digests(masks, every)
        of_labels = digest([labels.numpy(force=True).tobytes(), *(of_masks or ())])
        self.contents = image_digests(source, every)
        of_images = "" if self.contents is None else digest(self.contents).hex()
        self.parts = [digest(names).hex(), of_labels.hex(), of_images]
        # Marks of images and masks without content digests. They are empty if there are none.
        both = [
            None if self.contents is not None else image_marks(source, every),
            None if of_masks is not None else image_marks(masks, every),
        ]
        lists = [marks.values for marks in both if marks is not None]
        self.marks = [digest(values) if any(values) else b"" for values in zip(*lists, strict=True)]
        self._kind = LOOKS if any(marks.looks for marks in both if marks is not None) else ""

    @property
    def text(self) -> str:
        return "-".join(self.parts)

    @property
    def marks_digest(self) -> str:
        return self._kind + digest(self.marks).hex() if any(self.marks) else ""

    def points(self) -> Points:
        words = labels_in_words(self.task, self.labels, self.classes)
        if self.masks is not None:
            words = masks_in_words(self.masks, self.task.known(self.labels).tolist())
        found: Points = {
            "ids": list(self.ids),
            "labels": words,
            "digests": None if self.contents is None else [one.hex() for one in self.contents],
        }
        return found | ({"marks": [mark.hex() for mark in self.marks]} if any(self.marks) else {})


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
