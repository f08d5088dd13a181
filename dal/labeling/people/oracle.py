"""People as the oracle of a campaign: their answers arrive in a journal, when they like."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dal.data.images import ImageData
from dal.errors import bad_value
from dal.labeling.oracle import OracleConfig
from dal.labeling.people.answers import Answers
from dal.labeling.people.corrections import labels_of, num_changed
from dal.labeling.people.events import DAL, MERGE, NONE, SKIP, UNREADABLE, UNSURE, Answer
from dal.labeling.people.fold import Fold
from dal.labeling.people.prefixes import prefix_sha256
from dal.labeling.people.wanted import wanted
from dal.runs.asked import AskedLine
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
        if self.data.task.name != CLASSIFICATION.name:
            raise bad_value("oracle", f"dataset with {self.data.task.name} data", "people")

    def answerable(self) -> Tensor:
        """Return the indices of all points. People see whether an image can be read."""
        return torch.arange(len(self.data))

    def open(self) -> None:
        """Open the journal, which must be in an existing folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.answers = Answers(self.folder, self.data.classes)
        self.answers.refresh()

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

    def give_up(self, lines: Sequence[AskedLine]) -> None:
        """Answer ``unreadable`` for asked points whose images cannot be decoded, so that nobody waits for them."""
        unreadable = set(self.data.unreadable)
        for line in lines:
            if line.index in unreadable:
                self.answers.record(
                    {"event": f"dal-unreadable-{line.index}", "kind": UNREADABLE, "index": line.index, "id": line.id}
                    | {"annotator": DAL, "ask": line.ask, "source": DAL}
                )

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
