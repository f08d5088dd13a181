"""When to refit while people label, and how many points to queue."""

from __future__ import annotations

import math
from collections.abc import Sequence

_TOLERANCE = 1e-9  # 0.07 * 100 is just above 7
_RECENT_FITS = 5


def labels_to_refit(labeled: int, refit_labels: int = 1, refit_growth: float = 0.05) -> int:
    """Return how many new labels make a refit due, at least 1.

    ``labeled`` is the number of labels that the last fit saw. The larger of ``refit_labels`` and the share
    ``refit_growth`` of them decides.

    >>> labels_to_refit(20), labels_to_refit(300), labels_to_refit(300, refit_labels=20)
    (1, 15, 20)
    """
    return max(1, refit_labels, math.ceil(refit_growth * labeled - _TOLERANCE))


def refit_due(
    new_labels: int, labeled: int, refit_labels: int = 1, refit_growth: float = 0.05, *, no_work: bool = False
) -> bool:
    """Return whether enough labels are new for a refit.

    ``new_labels`` counts the answers that the last fit did not see and that settle a point. ``labeled`` is the number
    of labels that it saw. With ``no_work``, when people have nothing to answer, any new answer is enough. Without a new
    answer, no refit is due.

    >>> refit_due(14, 300), refit_due(15, 300)
    (False, True)
    >>> refit_due(1, 300, no_work=True), refit_due(0, 300, no_work=True)
    (True, False)
    """
    return new_labels >= (1 if no_work else labels_to_refit(labeled, refit_labels, refit_growth))


def measured_rho(arrived: Sequence[int]) -> int:
    """Return rho, the labels to expect during one fit and score.

    ``arrived`` has the labels that arrived during each fit so far. People pause, so that the numbers vary: the result
    is the largest of the last five. It is 0 before the first fit.

    >>> measured_rho([60, 2, 0, 9, 4, 3]), measured_rho([])
    (9, 0)
    """
    return max(arrived[-_RECENT_FITS:], default=0)


def queue_size(rho: float, annotators: int, prefetch: int, left: int, to_refit: int = 1) -> int:
    """Return how many points to ask for, so that people have work until the next ranking.

    People take about ``max(rho, to_refit)`` points between two rankings, of which ``to_refit`` (labels_to_refit())
    make the next fit due. The queue has twice as many, because people pause and hurry, and the points that each of
    ``annotators`` has in hand. It has at least 1 point and at most ``left``, the rest of the budget. A new ranking
    replaces the points that nobody has taken.

    >>> queue_size(rho=20, annotators=3, prefetch=8, left=1000)
    64
    >>> queue_size(rho=1, annotators=1, prefetch=8, left=1000, to_refit=50), queue_size(20, 3, 8, left=5)
    (108, 5)
    """
    wanted = math.ceil(2 * max(rho, to_refit) - _TOLERANCE) + annotators * prefetch
    return min(left, max(1, wanted))
