"""The first points that people are asked, computed without PyTorch.

The page shows the first image before PyTorch is imported. The trainer then asks for the same points.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from dal.runs.asked import INITIAL, QUERY, TEST, VALIDATION, AskedLine
from dal.runtime.derived_seed import derive_seed


def first_asks(
    ids: Sequence[str],
    seed: int,
    *,
    test_size: int = 0,
    validation_size: int = 0,
    initial_size: int = 0,
    spare: int = 0,
    excluded: Collection[int] = (),
) -> list[AskedLine]:
    """Return the lines of the test set, the validation set and a random initial set.

    They equal those that the campaign commits. ``initial_size`` is 0 for an initial set that depends on features. The
    ``spare`` points after the initial set are a first query, which people label while the first model trains.

    >>> [(line.kind, line.index) for line in first_asks(["a", "b", "c"], 0, test_size=1, initial_size=2)]
    [('test', 2), ('initial', 1), ('initial', 0)]
    """
    left = [index for index in range(len(ids)) if index not in excluded] if excluded else list(range(len(ids)))
    lines: list[AskedLine] = []
    for kind, size in ((TEST, test_size), (VALIDATION, validation_size), (INITIAL, initial_size)):
        if not size:
            continue
        drawn = size + (spare if kind == INITIAL else 0)
        chosen = [left[place] for place in first_of_randperm(len(left), drawn, derive_seed(seed, kind))]
        for place, index in enumerate(chosen):
            rank, shown = (place, kind) if place < size else (place - size, QUERY)
            lines.append(AskedLine(len(lines), 0, rank, index, ids[index], kind=shown))
        taken = set(chosen)
        left = [index for index in left if index not in taken]
    return lines


def spare_points(initial_size: int, query_size: int, budget: int, left: int) -> int:
    """Return how many points beyond the initial set are asked while nobody may wait.

    ``budget`` is the number of labels, and ``left`` the number of points, that are left for both.

    >>> spare_points(initial_size=20, query_size=30, budget=1000, left=45)
    25
    """
    return max(0, min(query_size, budget - initial_size, left - initial_size))


def first_of_randperm(n: int, count: int, seed: int) -> list[int]:
    """Return the first numbers of ``torch.randperm(n, generator=torch.Generator().manual_seed(seed))``.

    >>> first_of_randperm(5, 3, seed=0)
    [4, 0, 1]
    """
    count = min(n, count)
    # MT19937 with the seed of 32 bits, as both libraries use it.
    raw = np.random.RandomState(seed & 0xFFFFFFFF).randint(0, 2**32, count, dtype=np.uint32)
    swapped: dict[int, int] = {}
    found = []
    for place, number in enumerate(raw.tolist()):
        other = place + number % (n - place)
        found.append(swapped.get(other, other))
        swapped[other] = swapped.get(place, place)
    return found
