"""People as the oracle of a campaign: their answers arrive in a journal, when they like."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dal.data.answered_masks import AnsweredMasks
from dal.data.images import ImageData
from dal.data.sources.folder.gone import gone_sentence
from dal.errors import bad_value
from dal.labeling.oracle import OracleConfig
from dal.labeling.people.answers import Answers
from dal.labeling.people.corrections import labels_of, num_changed
from dal.labeling.people.events import DAL, MERGE, NONE, SKIP, UNSURE, Answer
from dal.labeling.people.fold import Fold
from dal.labeling.people.gone import note_gone
from dal.labeling.people.prefixes import prefix_sha256
from dal.labeling.people.wanted import wanted
from dal.runs.asked import AskedLine
from dal.runs.layout import MASKS
from dal.tasks import CLASSIFICATION

_RECENT = 200


@dataclass
class People:
    """Answers a campaign from the journal ``answers.jsonl`` in a run folder.

    Unlike an Oracle, people answer one point at a time, correct their answers, and add classes. A campaign therefore
    takes the state of all answers at a moment. ``config.wait`` decides whether it waits for answers or ends with
    WaitingForAnswers. ``rebuild`` returns a new learner for more classes, given their names.

    Raises DalError for data of another task and for noise, which only a simulated oracle has.
    """

    data: ImageData
    folder: Path
    config: OracleConfig = field(default_factory=lambda: OracleConfig(kind="people"))
    rebuild: Callable[[Sequence[str]], Any] | None = None

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        is_dense = self.data.task.is_dense
        if is_dense and not isinstance(self.data.masks, AnsweredMasks):
            expected = "dataset, or people with data=unlabeled_folder data.task=segmentation"
            raise bad_value("oracle", expected, "people")
        if not is_dense and self.data.task.name != CLASSIFICATION.name:
            raise bad_value("oracle", f"dataset with {self.data.task.name} data", "people")

    def answerable(self) -> Tensor:
        """Return the indices of all points. People see whether an image can be read."""
        return torch.arange(self.data.num_points)

    def open(self) -> None:
        """Open the journal, which must be in an existing folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.answers = Answers(self.folder, self.data.classes)
        self.answers.refresh()
        if isinstance(self.data.masks, AnsweredMasks):
            self.data.masks.open(self.folder / MASKS)
        self._told = set(self.data.points_of(self.data.gaps))  # a warning of the data names them

    @property
    def seq(self) -> int:
        """Number of events so far, all of which are on the disk."""
        self.answers.refresh_confirmed()
        return self.answers.fold.seq

    def fold(self, seq: int | None = None) -> Fold:
        """Return the state after the first ``seq`` events, or after all."""
        return self.answers.fold if seq is None else self.answers.read(seq)

    def folds(self, seqs: Iterable[int]) -> Iterator[Fold]:
        """Yield the state after each of these numbers of events, which do not decrease. It is one object."""
        return self.answers.prefixes(seqs)

    def sha256(self, seq: int) -> str:
        """Return the digest of the first ``seq`` lines of the journal."""
        return prefix_sha256(self.folder, seq)

    def changed_labels(self, since: int, upto: int | None = None) -> int:
        """Return how many labels after ``since`` events are others after ``upto`` events, by default now."""
        return num_changed(labels_of(self.fold(since)), self.fold(upto))

    def waiting(self, asked: Sequence[AskedLine]) -> list[AskedLine]:
        """Return the asked points that still need an answer, best first."""
        return wanted(asked, self.answers.fold, self.config.overlap)

    def new_answers(self, since: int) -> int:
        """Return the number of events after ``since`` that can change a label."""
        return _changes(self.answers.fold, since)

    def annotators(self) -> int:
        """Return the number of people among the last answers, at least 1."""
        recent = self.answers.events(max(0, self.answers.fold.seq - _RECENT))
        return max(1, len({event.annotator for event in recent if event.source != DAL}))

    def give_up(self, lines: Sequence[AskedLine]) -> bool:
        """Answer ``unreadable`` for asked points whose images cannot be read, so that nobody waits for them.

        Returns whether anything is recorded.
        """
        return self._look({line.index: line.ask for line in lines}, ())

    def look_again(self, asked: Sequence[AskedLine]) -> None:
        """Answer ``unreadable`` for all points of the run that have disappeared, and undo it for those that are back.

        Nothing is chosen and trained on without its image then, with or without a label.
        """
        data = self.data
        answered = (index for index in self.answers.refresh().points() if 0 <= index < data.num_points)
        lost = data.points_of(data.gaps - set(data.unreadable))
        self._look({line.index: line.ask for line in asked}, [*answered, *lost])

    def _look(self, asks: Mapping[int, int], others: Sequence[int]) -> bool:
        data, per_image = self.data, self.data.units_per_image
        points = {index: data.point_ids[index] for index in sorted({*asks, *others})}
        images = set(data.missing(list(dict.fromkeys(index // per_image for index in points))))
        missing = {index for index in points if index // per_image in images}
        lost, back = note_gone(self.answers, points, missing, asks)
        if new := list(dict.fromkeys(data.ids[index // per_image] for index in lost if index not in self._told)):
            warnings.warn(gone_sentence("data", new), stacklevel=3)
        self._told.update(lost)
        self._told.difference_update(back)
        return bool(lost or back)

    def facts(self, seq: int, since: int) -> dict[str, Any]:
        """Return the entries of a round's row that describe the first ``seq`` answers.

        The seconds of people are those of the answers after ``since``, which the previous round saw.
        """
        fold = self.fold(seq)
        statuses = [fold.decision(index).status for index in fold.points()]
        seconds = [one for one in fold.seconds[since + 1 :] if not math.isnan(one)]
        return {
            "answers_seq": seq,
            "answers_sha256": self.sha256(seq),
            "behind": _changes(fold, since),
            "num_unsure": statuses.count(UNSURE),
            "num_none": statuses.count(NONE),
            "num_corrected": fold.corrected,
            "annotator_seconds": math.fsum(seconds),
        }


def _changes(fold: Fold, since: int) -> int:
    kinds = map(fold.kind, range(since + 1, fold.seq + 1))
    return sum(
        kind != SKIP and (kind in Answer.kinds or fold.event(seq).kind == MERGE)
        for seq, kind in enumerate(kinds, start=since + 1)
    )
