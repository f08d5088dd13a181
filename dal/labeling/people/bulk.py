"""Applies many lines of the journal at once.

A line in the usual form is matched by one expression, and a batch of lines is applied column by column. Any other line
goes through parse_event(). Both give the same state.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from dal.labeling.people.events import LABEL, UNDO, UnexpectedValue, is_class_name, is_mask, parse_event
from dal.labeling.people.fold import Fold
from dal.labeling.people.rows import CODE, KINDS

_PLAIN = r"[ !#-\[\]-~]"
_ESCAPED = r"\\u[0-9a-f]{4}|\\[\"\\bfnrt]"
_COUNT = r"(?:0|[1-9]\d{0,14})"
_TEXT = rf'"(?:{_PLAIN}{{1,4096}}|(?:{_PLAIN}|{_ESCAPED}){{1,680}})"'
_LINE = re.compile(
    rf'{{"seq":({_COUNT}),"event":"([A-Za-z0-9._-]{{1,64}})","kind":"({"|".join(KINDS[:-1])})","index":({_COUNT}),'
    rf'"id":{_TEXT},"label":(null|{_TEXT}),"annotator":"([A-Za-z0-9._@-]{{1,64}})","at":"{_PLAIN}{{0,40}}",'
    rf'"seconds":(?:null|(\d{{1,15}}(?:\.\d{{1,20}})?)),"ask":(?:null|{_COUNT}),"score_round":(?:null|{_COUNT}),'
    rf'"behind":(?:null|{_COUNT}),"suggestion":(null|{_TEXT}),"undoes":(?:null|({_COUNT})),'
    r'"source":"(?:page|file|library|dal)"}\n|(.*\n)',
    re.ASCII,
)
_Match = Sequence[str]
_UNDO = CODE[UNDO]


def apply_lines(fold: Fold, data: bytes) -> None:
    """Apply the next whole lines of the journal, up to a call of fold.settle().

    Raises ValueError for a line that is damaged or does not fit. The fold is then of no further use.
    """
    rows = _LINE.findall(data.decode())
    start = 0
    while start < len(rows):
        odd = next((place for place in range(start, len(rows)) if rows[place][-1]), len(rows))
        if odd > start:
            _apply_usual(fold, rows[start:odd])
        if odd < len(rows):
            fold.add(parse_event(rows[odd][-1]))
        start = odd + 1


def apply_one_by_one(fold: Fold, data: bytes) -> None:
    """Apply the next whole lines of the journal, and raise ValueError at the first damaged one."""
    for line in data.split(b"\n")[:-1]:
        fold.apply(parse_event(line.decode()))


def _apply_usual(fold: Fold, rows: Sequence[_Match]) -> None:
    """Apply lines in the usual form."""
    seqs, events, kinds, indices, labels, annotators, seconds, suggestions, undoes, _ = zip(*rows, strict=True)
    first, stop = fold.seq + 1, fold.seq + 1 + len(rows)
    _expect(list(map(int, seqs)) == list(range(first, stop)), "seq")
    fold.add_ids(events)
    for suggestion in set(suggestions):
        _class_name(suggestion)
    codes = bytes(map(CODE.__getitem__, kinds))
    targets = [(first + place, int(target)) for place, target in enumerate(undoes) if target]
    _expect(codes.count(_UNDO) == len(targets), "undoes")
    numbers, people = _Cached(lambda key: _number(fold, *key)), _Cached(fold.person_number)
    fold.add_rows(
        codes,
        map(int, indices),
        map(numbers.__getitem__, zip(kinds, labels, strict=True)),
        map(people.__getitem__, annotators),
        [float(text) if text else math.nan for text in seconds],
    )
    for seq, target in targets:
        _expect(fold.kinds[seq] == _UNDO, "undoes")
        fold.add_target(seq, target)


class _Cached(dict[Any, Any]):
    """Values that are computed at the first use of a key."""

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self._compute = compute

    def __missing__(self, key: Any) -> Any:
        value = self[key] = self._compute(key)
        return value


def _number(fold: Fold, kind: str, text: str) -> int:
    """Return the class of a label as a line has it, or -1 for another kind of answer."""
    label = _label(text)
    _expect((kind == LABEL) == (label is not None), "label")
    number = -1 if label is None else fold.classes.resolved(label)
    if number is None:
        raise UnexpectedValue("label")
    return number


def _label(text: str) -> str | None:
    """Return a label as a line has it: a mask, or the name of a class."""
    return text[1:-1] if is_mask(text[1:-1]) else _class_name(text)


@lru_cache(maxsize=2**14)
def _class_name(text: str) -> str | None:
    """Return the name of a class as a line has it. Raises ValueError for a name that no class can have."""
    name: str | None = json.loads(text)
    _expect(name is None or is_class_name(name), "label")
    return name


def _expect(condition: bool, name: str) -> None:
    if not condition:
        raise UnexpectedValue(name)
