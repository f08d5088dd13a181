"""Checks the answers in a file, and records all of them or none."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

from dal.data.sources.folder.names import composed
from dal.errors import DalError, shortened
from dal.labeling.people.answers import Answers
from dal.labeling.people.events import LABEL
from dal.labeling.people.fold import Fold, Said
from dal.labeling.people.formats.incoming import WORDS, Told, read_told
from dal.runs.asked import AskedLine

_SPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
_SHOWN_LINES = 5


@dataclass(frozen=True)
class TellResult:
    """How many answers of a file are new, and what happened to the others."""

    new: int
    repeated: int
    superseded: int
    unanswered: int

    def sentence(self) -> str:
        """Return the counts as text.

        >>> TellResult(12, 3, 1, 0).sentence()
        '12 new, 3 repeated, 1 superseded'
        """
        rest = f", {self.unanswered:,} without a label" if self.unanswered else ""
        return f"{self.new:,} new, {self.repeated:,} repeated, {self.superseded:,} superseded{rest}"


class Teller:
    """Turns the rows of a file into answers.

    ``indices`` maps ids to indices. ``asked`` are the points that people were asked for.
    """

    def __init__(self, fold: Fold, indices: Mapping[str, int], asked: Sequence[AskedLine], annotator: str) -> None:
        self.fold, self.indices, self.annotator = fold, indices, annotator
        self._lines = {one.index: one.ask for one in asked}
        self._taken: dict[tuple[str, int], int] = {}

    def draft(self, told: Told) -> dict[str, Any]:
        """Return the answer in a row. Raises DalError, with the line, if the row cannot be an answer of this run."""
        id, index = self._point(told)
        annotator = told.annotator or self.annotator
        first = self._taken.setdefault((annotator, index), told.line)
        if first != told.line:
            expected = "each image once for each annotator"
            raise DalError(f"id: expected {expected}, got {shortened(id)} in lines {first} and {told.line}.")
        label = None if told.label is None else composed(told.label)
        if told.kind == LABEL and self.fold.classes.number(str(label)) is None:
            offered = self.fold.classes.offered
            near = get_close_matches(str(label), offered, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise DalError(
                f"label: expected one of {', '.join(offered[:20])}{', ...' if len(offered) > 20 else ''} (or "
                f"{', '.join(WORDS)}), got {shortened(told.label)} in line {told.line}{hint}."
            )
        return {
            "kind": told.kind,
            "index": index,
            "id": id,
            "label": label,
            "annotator": annotator,
            "seconds": told.seconds,
            "ask": self._lines.get(index),
            "source": "file",
        }

    def present(self, draft: Mapping[str, Any]) -> Said | None:
        """Return the answer that the same person now has for the same point."""
        said = (one for one in self.fold.said(draft["index"]) if one.annotator == draft["annotator"])
        return next(said, None)

    def _point(self, told: Told) -> tuple[str, int]:
        id = composed(PurePosixPath(told.id).as_posix())
        # A spreadsheet shows an id that looks like a formula with an apostrophe in front.
        for name in (id, id.removeprefix("'")):
            index = self.indices.get(name)
            if index is not None:
                if told.index not in (None, index):
                    expected = f"{index}, the index of {name!r}"
                    raise DalError(f"index: expected {expected}, got {told.index} in line {told.line}.")
                return name, index
        near = get_close_matches(id, list(self.indices)[:20_000], n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise DalError(f"id: expected an image of the run, got {shortened(told.id)} in line {told.line}{hint}.")


def tell_file(
    answers: Answers,
    indices: Mapping[str, int],
    asked: Sequence[AskedLine],
    path: Path,
    *,
    annotator: str = "me",
    format: str = "auto",
    dry_run: bool = False,
) -> TellResult:
    """Record the answers in a file, and return what is new.

    An answer that a person has already given is repeated and changes nothing. Another answer of the same person for the
    same image supersedes the earlier one. With ``dry_run``, nothing is recorded.

    Raises DalError, and records nothing, if a row cannot be an answer. The sentence names the first such line, and the
    numbers of the next.
    """
    found = read_told(path, format)
    answers.refresh()
    teller = Teller(answers.fold, indices, asked, annotator)
    drafts, refused = [], list[tuple[int, DalError]]()
    for told in found.told:
        try:
            drafts.append((told.line, teller.draft(told)))
        except DalError as error:
            refused.append((told.line, error))
    if refused:
        raise _refusal(refused)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    new, repeated, superseded = list[dict[str, Any]](), 0, 0
    for line, draft in drafts:
        # Two people who agree in everything can send equal files.
        event = str(uuid.uuid5(_SPACE, f"{digest}:{line}:{draft['annotator']}"))
        present = teller.present(draft)
        number = None if draft["label"] is None else answers.fold.classes.number(draft["label"])
        is_same = present is not None and (present.kind, present.label) == (draft["kind"], number)
        if is_same or event in answers.fold.events:
            repeated += 1
            continue
        superseded += present is not None
        new.append({**draft, "event": event})
    if not dry_run:
        answers.record_all(new)
    return TellResult(len(new), repeated, superseded, found.unanswered)


def _refusal(refused: Sequence[tuple[int, DalError]]) -> DalError:
    _, error = refused[0]
    more = [str(line) for line, _ in refused[1:]]
    if not more:
        return error
    shown = ", ".join(more[:_SHOWN_LINES]) + (", ..." if len(more) > _SHOWN_LINES else "")
    lines = "line is" if len(more) == 1 else "lines are"
    return DalError(f"{error} {len(more):,} more {lines} refused ({shown}). Nothing is recorded.")
