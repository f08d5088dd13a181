"""Query: the points to label, best first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dal.data.images import ImageData


@dataclass(frozen=True)
class Query(Sequence[int]):
    """The points that ask() returns, best first.

    A query is a sequence of indices and also has their ids and scores. Scores are None in the initial set, which is
    chosen without a model.
    """

    indices: tuple[int, ...]
    ids: tuple[str, ...]
    scores: tuple[float | None, ...]

    @classmethod
    def of(cls, data: ImageData, indices: Sequence[int], scores: Sequence[float | None]) -> Query:
        """Return a query of these points of ``data``."""
        return cls(tuple(indices), tuple(data.point_ids[i] for i in indices), tuple(scores))

    def at(self, places: Sequence[int]) -> Query:
        """Return the query of the points at these places."""
        indices = tuple(self.indices[place] for place in places)
        return Query(indices, tuple(self.ids[p] for p in places), tuple(self.scores[p] for p in places))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: Any) -> Any:
        return self.indices[place]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)
