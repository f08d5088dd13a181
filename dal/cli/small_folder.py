"""The sizes of a campaign for a folder with few images."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

_SHARE = 4
_SIZES = ("test_size", "validation_size", "initial_size", "query_size", "budget")


def small_sizes(
    count: int, campaign: Mapping[str, Any], given: Collection[str], num_classes: int, overlap: Any
) -> dict[str, int]:
    """Return the sizes that replace the defaults of a campaign, because the folder has only ``count`` images.

    The initial set and each query have at most a quarter of the images that are left after the test set and the
    validation set, and the initial set has at least as many images as there are classes. The budget is at most one
    label for each image and person. ``given`` are the sizes that the user has chosen, which stay.

    >>> default = {"initial_size": 20, "query_size": 20, "budget": 1000, "test_size": 0, "validation_size": 0}
    >>> small_sizes(39, default, given=[], num_classes=2, overlap=1)
    {'initial_size': 9, 'query_size': 9, 'budget': 39}
    >>> small_sizes(80, default, given=["budget"], num_classes=2, overlap=1)
    {}
    """
    numbers = (*(campaign[name] for name in _SIZES), overlap)
    if not all(isinstance(number, int) for number in numbers):  # the trainer refuses it
        return {}
    held = campaign["test_size"] + campaign["validation_size"]
    left = count - held
    share = max(1, left // _SHARE)
    initial = min(max(share, num_classes), left)
    if "budget" in given:
        initial = min(initial, campaign["budget"] - held)
    if "initial_size" in given:
        initial = campaign["initial_size"]
    most = {"initial_size": initial, "query_size": min(share, left - initial), "budget": count * overlap}
    # Sizes below 1 do not fit at all. The trainer then names the first setting that the folder is too small for.
    return {name: max(1, size) for name, size in most.items() if name not in given and size < campaign[name]}
