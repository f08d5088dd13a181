"""Wilson's interval of a share, without PyTorch."""

from __future__ import annotations

import math
from statistics import NormalDist

from dal.errors import bad_value

LEVEL = 0.95


def wilson_interval(successes: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Return Wilson's score interval for ``successes`` of ``trials``.

    The ends are the shares that a score test at ``level`` does not reject (Wilson, JASA 1927). Unlike the normal
    approximation, the interval stays within 0 and 1, and has a width for 0 and for all successes. Without trials it is
    0 to 1.

    Raises DalError for counts that are no share, and for a level outside 0 and 1.

    >>> low, high = wilson_interval(91, 100)
    >>> round(low, 4), round(high, 4)
    (0.8377, 0.9519)
    """
    if trials < 0:
        raise bad_value("trials", "at least 0", trials)
    if not 0 <= successes <= trials:
        raise bad_value("successes", f"a count from 0 to {trials}", successes)
    if not 0 < level < 1:
        raise bad_value("level", "a share between 0 and 1", level)
    if not trials:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, squared = successes / trials, z * z / trials
    center = (share + squared / 2) / (1 + squared)
    half = z / (1 + squared) * math.sqrt(share * (1 - share) / trials + squared / (4 * trials))
    # The formula gives these ends exactly, but rounding does not.
    low = 0.0 if successes == 0 else center - half
    high = 1.0 if successes == trials else center + half
    return low, high


def in_percent(interval: tuple[float, float]) -> str:
    """Return an interval of shares in whole percent, widened rather than narrowed.

    >>> in_percent((0.8377, 0.9519))
    '83-96'
    """
    return f"{math.floor(100 * interval[0])}-{math.ceil(100 * interval[1])}"
