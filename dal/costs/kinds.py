"""The kinds of costs of labels, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Words(NamedTuple):
    """How texts name a cost."""

    plural: str
    axis: str


KINDS: Mapping[str, Words] = {
    "units": Words("labels", "Labels bought"),
    "images": Words("images", "Images with labels"),
    "pixels": Words("pixels", "Pixels bought"),
    "clicks": Words("clicks", "Clicks"),
    "seconds": Words("seconds of labeling", "Seconds of labeling"),
}
"""The costs of labels that a round records as ``cost_NAME``, and their words. A unit is an image or a region of it."""


def cost_key(kind: str) -> str:
    """Return the key of a cost in rounds.jsonl.

    >>> cost_key("clicks")
    'cost_clicks'
    """
    return f"cost_{kind}"
