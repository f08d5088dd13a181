"""The classes by number, and changes of them."""

from __future__ import annotations

from collections.abc import Sequence

from dal.errors import shortened
from dal.labeling.people.events import ADD, MASK, MERGE, RENAME, RETIRE, ClassChange, is_mask

_FIRST_MASK, _MASKS = 2**62, 2**61


def is_mask_number(number: int | None) -> bool:
    """Return whether the number of a label is that of a mask, and not of a class."""
    return number is not None and number >= _FIRST_MASK


class Classes:
    """The classes by number. A number never changes its meaning and is never used again.

    >>> classes = Classes(["cat", "dog"])
    >>> classes.apply(ClassChange(1, "a", "rename_class", "dog", "hound"))
    >>> classes.names, classes.number("hound"), classes.number("dog"), classes.resolved("dog")
    (['cat', 'hound'], 1, None, 1)
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names: list[str] = list(names)
        """The present name of each number.

        A merged class keeps its last name until another class takes it.
        """
        self._into: dict[int, int] = {}
        self._retired: set[int] = set()
        self._offered = {name: number for number, name in enumerate(self.names)}
        self._former: dict[str, int] = {}
        self._digests: dict[int, str] = {}  # of masks

    def copy(self) -> Classes:
        """Return classes whose changes do not change these."""
        other = Classes(self.names)
        other._into, other._retired = dict(self._into), set(self._retired)
        other._offered, other._former = dict(self._offered), dict(self._former)
        other._digests = self._digests  # shared, because it depends on nothing else
        return other

    @property
    def offered(self) -> list[str]:
        """The names that people can choose, in the order of the numbers."""
        return [name for number, name in enumerate(self.names) if self.is_offered(number)]

    def is_offered(self, number: int) -> bool:
        """Return whether people can choose a class."""
        return number not in self._into and number not in self._retired

    def number(self, name: str) -> int | None:
        """Return the number of a class that can be chosen, or None."""
        return self._offered.get(name)

    def resolved(self, name: str) -> int | None:
        """Return the number of a class by its name or a former name, or None.

        An answer can arrive after the class got another name, was merged or retired. A mask has a number too, which
        follows from its digest.
        """
        if is_mask(name):
            digest = name.removeprefix(MASK)
            mask = _FIRST_MASK + int(digest, 16) % _MASKS
            self._digests[mask] = digest
            return mask
        number = self._offered.get(name)
        return self._former.get(name) if number is None else number

    def mask(self, number: int) -> str:
        """Return the digest of a mask by its number."""
        return self._digests[number]

    def merged(self, number: int) -> int:
        """Return the class that now has the labels of a class."""
        while number in self._into:
            number = self._into[number]
        return number

    def refused(self, kind: str, name: str, to: str | None = None) -> str | None:
        """Return what is expected instead of a change, or None if the change is fine."""
        if kind == ADD:
            return None if self.number(name) is None else f"a name that no class has, got {shortened(name)}"
        if self.number(name) is None:
            return f"one of {', '.join(self.offered)}, got {shortened(name)}"
        if kind == RENAME and (self.number(str(to)) is not None or self._retired_number(str(to)) is not None):
            return f"a new name that no class has, got {shortened(to)} (merge_class joins two classes)"
        if kind == MERGE and self.number(str(to)) in (None, self.number(name)):
            return f"another of {', '.join(self.offered)} as the class to keep, got {shortened(to)}"
        if kind in (MERGE, RETIRE) and len(self.offered) <= 2:
            return f"at least two classes to remain, got {kind} of {shortened(name)} with {len(self.offered)}"
        return None

    def apply(self, change: ClassChange) -> None:
        """Apply a change that was not refused; ignore any other.

        To add a retired class brings it back, with its number.
        """
        if self.refused(change.kind, change.name, change.to) is not None:
            return
        if change.kind == ADD:
            self._add(change.name)
            return
        number = self._offered.pop(change.name)
        self._former[change.name] = number
        if change.kind == RENAME and change.to is not None:
            self._take_name(change.to)
            self.names[number] = change.to
            self._offered[change.to] = number
        elif change.kind == MERGE and change.to is not None:
            self._into[number] = self._offered[change.to]
        else:
            self._retired.add(number)

    def _add(self, name: str) -> None:
        retired = self._retired_number(name)
        if retired is not None:
            self._retired.remove(retired)
            self._offered[name] = retired
            return
        self._take_name(name)
        self._offered[name] = len(self.names)
        self.names.append(name)

    def _retired_number(self, name: str) -> int | None:
        return next((number for number in self._retired if self.names[number] == name), None)

    def _take_name(self, name: str) -> None:
        """Keep names different: a merged class with this name gets its number after it."""
        for number in self._into:
            if self.names[number] == name:
                self.names[number] = next(
                    free for k in range(1, len(self.names) + 2) if (free := f"{name} ({k})") not in self.names
                )
