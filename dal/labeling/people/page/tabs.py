"""Which browser tab of a person has which image."""

from __future__ import annotations

from collections.abc import Iterable


class Tabs:
    """Two tabs of one person share no image. A tab that is silent for ``seconds`` is closed."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._held: dict[str, dict[int, str]] = {}  # person, ask, tab
        self._seen: dict[tuple[str, str], float] = {}

    def hold(self, person: str, tab: str, asks: Iterable[int], now: float) -> None:
        """Remember that a tab has these images, and that it is open."""
        self._seen[person, tab] = now
        self._held.setdefault(person, {}).update((ask, tab) for ask in asks)

    def elsewhere(self, person: str, tab: str, now: float) -> set[int]:
        """Return the images in other open tabs of a person."""
        held = self._held.get(person, {})
        return {ask for ask, other in held.items() if other != tab and self._is_open(person, other, now)}

    def drop(self, person: str, asks: Iterable[int]) -> None:
        """Forget images that are answered."""
        held = self._held.get(person, {})
        for ask in asks:
            held.pop(ask, None)

    def close(self, person: str, tab: str) -> list[int]:
        """Forget a tab. Return the images that it had."""
        self._seen.pop((person, tab), None)
        held = self._held.get(person, {})
        asks = [ask for ask, other in held.items() if other == tab]
        self.drop(person, asks)
        return asks

    def _is_open(self, person: str, tab: str, now: float) -> bool:
        return now - self._seen.get((person, tab), -self.seconds) < self.seconds
