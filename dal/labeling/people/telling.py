"""Checks the answers in a file, and records all of them or none."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dal.data.sources.folder.names import composed
from dal.errors import DalError, bad_value, close_names, shortened
from dal.labeling.people.answers import Answers
from dal.labeling.people.events import LABEL, NONE, is_mask
from dal.labeling.people.fold import Fold, Said
from dal.labeling.people.formats.incoming import WORDS, Told, read_told
from dal.labeling.people.formats.mask_folder import other_masks, table_of
from dal.labeling.people.masks import MaskBook
from dal.runs.asked import AskedLine
from dal.runtime.refusals import explained
from dal.runtime.user_paths import exists, is_folder

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

    ``indices`` maps ids to indices. ``asked`` are the points that people were asked for. With ``masks``, a label is the
    path of a mask below ``folder``.
    """

    def __init__(
        self,
        fold: Fold,
        indices: Mapping[str, int],
        asked: Sequence[AskedLine],
        annotator: str,
        masks: MaskBook | None = None,
        folder: Path = Path(),
    ) -> None:
        self.fold, self.indices, self.annotator, self.masks, self.folder = fold, indices, annotator, masks, folder
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
        if self.masks is not None:
            label = self.mask(told, index, write=False)
        elif told.kind == LABEL and self.fold.classes.number(str(label)) is None:
            offered = self.fold.classes.offered
            near = close_names(str(label), offered)
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

    def mask(self, told: Told, index: int, write: bool) -> str | None:
        """Return the label of the mask in a row, or None for another answer."""
        assert self.masks is not None
        if told.kind == NONE:
            words = ", ".join(word for word, kind in WORDS.items() if kind != NONE)
            raise DalError(f"label: expected the path of a mask, or one of {words}, got '=none' in line {told.line}.")
        if told.label is None:
            return None
        path = self.folder / told.label
        if not path.is_file():
            raise DalError(
                f"label: expected the path of a mask below {str(self.folder)!r}, got {shortened(told.label)} in line "
                f"{told.line}."
            )
        with explained(path=path), path.open("rb") as file:
            return self.masks.label(index, file, path.suffix, f"{path} (line {told.line})", write)

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
        near = close_names(id, list(self.indices)[:20_000])
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
    masks: MaskBook | None = None,
) -> TellResult:
    """Record the answers in a file, and return what is new.

    With ``masks``, labels are paths of masks, and ``path`` can be a folder that write_units() made.

    An answer that a person has already given is repeated and changes nothing. Another answer of the same person for the
    same image supersedes the earlier one. With ``dry_run``, nothing is recorded.

    Raises DalError, and records nothing, if a row cannot be an answer. The sentence names the first such line, and the
    numbers of the next.
    """
    _check_place(path, masks is not None)
    folder = path if masks is not None and path.is_dir() else None
    path = path if folder is None else table_of(folder)
    found = read_told(path, format, masks is not None)
    told_masks = [] if folder is None else other_masks(folder, found.masks, [line.id for line in asked])
    answers.refresh()
    teller = Teller(answers.fold, indices, asked, annotator, masks, path.parent)
    drafts, refused = [], list[tuple[int, DalError]]()
    for told in [*found.told, *told_masks]:
        try:
            drafts.append((told, teller.draft(told)))
        except DalError as error:
            refused.append((told.line, error))
    if refused:
        raise _refusal(refused)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    new, repeated, superseded = list[dict[str, Any]](), 0, 0
    for told, draft in drafts:
        present = teller.present(draft)
        # Two people who agree in everything can send equal files.
        name = f"{digest}:{told.line}:{draft['annotator']}"
        number = None if draft["label"] is None else _number(answers.fold, draft["label"])
        if masks is not None:  # a mask can change while the file that names it stays
            name += f":{draft['index']}:{draft['label']}:{0 if present is None else present.seq}"
        event = str(uuid.uuid5(_SPACE, name))
        is_same = present is not None and (present.kind, present.label) == (draft["kind"], number)
        if is_same or event in answers.fold.events:
            repeated += 1
            continue
        superseded += present is not None
        if masks is not None and not dry_run:
            teller.mask(told, draft["index"], write=True)  # on the disk before the journal names it
        new.append({**draft, "event": event})
    if not dry_run:
        answers.record_all(new)
    return TellResult(len(new), repeated, superseded, found.unanswered)


def _check_place(path: Path, takes_folder: bool) -> None:
    """Raise DalError for a path that does not exist, and for a folder where a run takes none."""
    folder = ", or a folder that dal ask --files has written" if takes_folder else ""
    if not exists(path):
        raise bad_value("answers", f"an existing file{folder}", str(path))
    if is_folder(path) and not takes_folder:
        expected = "a file, because only runs with data.task=segmentation take a folder of masks"
        raise bad_value("answers", expected, str(path))


def _number(fold: Fold, label: str) -> int | None:
    return fold.classes.resolved(label) if is_mask(label) else fold.classes.number(label)


def _refusal(refused: Sequence[tuple[int, DalError]]) -> DalError:
    _, error = refused[0]
    more = [str(line) for line, _ in refused[1:]]
    if not more:
        return error
    shown = ", ".join(more[:_SHOWN_LINES]) + (", ..." if len(more) > _SHOWN_LINES else "")
    lines = "line is" if len(more) == 1 else "lines are"
    return DalError(f"{error} {len(more):,} more {lines} refused ({shown}). Nothing is recorded.")
