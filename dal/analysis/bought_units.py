"""What the labels of runs are bought for: images, or regions of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dal.runs.reader import Run

UNIT_KEYS = ("campaign.unit", "data.region_size")

COUNTED_IN_UNITS = tuple(
    f"campaign.{name}"
    for name in ("initial_size", "query_size", "growth", "budget", "validation_size", "test_size", "cost")
)
"""Sizes of a campaign, which are other numbers for other units."""


def unit_of(run: Run) -> str:
    """Return what a run buys, in the plural: images, or regions with their side length."""
    campaign, data = (_section(run, name) for name in ("campaign", "data"))
    if campaign.get("unit", "image") != "region":
        return "images"
    return f"regions of {data.get('region_size')} pixels"


def units_of(runs: Iterable[Run]) -> list[str]:
    """Return what runs buy, each once, sorted."""
    return sorted({unit_of(run) for run in runs})


def _section(run: Run, name: str) -> dict[str, Any]:
    found = run.config.get(name)
    return found if isinstance(found, dict) else {}
