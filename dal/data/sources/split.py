"""Draws a test set from labeled images by their ids."""

from __future__ import annotations

from dataclasses import replace

from dal.data.images import ImageData, ImageSplits
from dal.errors import bad_value
from dal.runtime.seeding import derive_seed


def split_by_id(data: ImageData, fraction: float) -> ImageSplits:
    """Move about this share of the labeled images to a test set.

    The hash of an id determines the side, so new images never move others. A fraction of 0 creates no test set.

    Raises DalError if a side would have no labeled image.
    """
    if fraction == 0:
        return ImageSplits(data, None)
    known = data.task.known(data.labels).tolist()
    in_test = [labeled and _share(name) < fraction for labeled, name in zip(known, data.ids, strict=True)]
    count, labeled_count = sum(in_test), sum(known)
    if not 0 < count < labeled_count:
        raise bad_value(
            "data.test_fraction",
            f"a share that leaves some of the {labeled_count} labeled images on each side, or a given test set",
            f"{fraction}, which puts {count} of them into the test set",
        )
    train = data.subset([position for position, chosen in enumerate(in_test) if not chosen])
    test = data.subset([position for position, chosen in enumerate(in_test) if chosen])
    return ImageSplits(train, replace(test, set_aside={}, first_frames=()))


def _share(name: str) -> float:
    """Return a number from 0 to 1 derived from the id."""
    return derive_seed(0, "test", name) / 2**63
