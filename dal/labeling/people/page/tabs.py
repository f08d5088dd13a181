"""Which browser tab of a person has which image."""

from __future__ import annotations

from collections.abc import Iterable

_OPEN_SECONDS = 120.0
_EARLIER, _GRACE_SECONDS = "", 10.0


class Tabs:
    """Two tabs of one person share no image. A tab that is silent for two minutes is closed."""

    def __init__(self) -> None:
        self._held: dict[str, dict[int, str]] = {}  # person, index, tab
        self._closes: dict[tuple[str, str], float] = {}

    def meet(self, person: str, held: Iterable[int], now: float) -> None:
        """Keep, on the first call for a person, the images of tabs from before the server started.

        Each tab claims its own within some seconds. Then the others are free.
        """
        if person not in self._held:
            self._held[person] = dict.fromkeys(held, _EARLIER)
            self._closes[person, _EARLIER] = now + _GRACE_SECONDS

    def hold(self, person: str, tab: str, indices: Iterable[int], now: float) -> None:
        """Remember that a tab has these images, and that it is open."""
        self._closes[person, tab] = now + _OPEN_SECONDS
        if held := dict.fromkeys(indices, tab):
            self._held.setdefault(person, {}).update(held)

    def elsewhere(self, person: str, tab: str, have: Iterable[int], now: float) -> set[int]:
        """Return the images in other open tabs of a person. ``have`` are those that the tab claims."""
        held = self._held.setdefault(person, {})
        held.update((index, tab) for index in have if held.get(index) == _EARLIER)
        return {index for index, other in held.items() if other != tab and self._closes.get((person, other), 0) > now}

    def reload(self, person: str, tab: str) -> None:
        """Let other tabs of the person take what this one had before a reload. Its close may come later."""
        self._closes.pop((person, tab), None)

    def drop(self, person: str, indices: Iterable[int]) -> None:
        """Forget images that are answered."""
        held = self._held.get(person, {})
        for index in indices:
            held.pop(index, None)

    def close(self, person: str, tab: str) -> list[int]:
        """Forget a tab. Return the images that it had."""
        self._closes.pop((person, tab), None)
        indices = [index for index, other in self._held.get(person, {}).items() if other == tab]
        self.drop(person, indices)
        return indices
