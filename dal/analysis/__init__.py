"""Analysis of run folders: reading, grouping and learning curves."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dal.analysis.grouping import Group, group_runs
    from dal.analysis.per_round import common_prices, mean_costs, round_costs
    from dal.analysis.statistics.curves import area_under_curve, labels_to_reach, mean_and_interval, paired_difference
    from dal.analysis.summary import summarize_runs
    from dal.analysis.targets import Reach, reach, target_of
    from dal.runs.reader import NoRoundsError, Run, find_runs, is_run, read_run

__all__ = [
    "Group",
    "NoRoundsError",
    "Reach",
    "Run",
    "area_under_curve",
    "common_prices",
    "find_runs",
    "group_runs",
    "is_run",
    "labels_to_reach",
    "mean_and_interval",
    "mean_costs",
    "paired_difference",
    "reach",
    "read_run",
    "round_costs",
    "summarize_runs",
    "target_of",
]

_HOMES = {
    "Group": "dal.analysis.grouping",
    "NoRoundsError": "dal.runs.reader",
    "Reach": "dal.analysis.targets",
    "Run": "dal.runs.reader",
    "area_under_curve": "dal.analysis.statistics.curves",
    "common_prices": "dal.analysis.per_round",
    "find_runs": "dal.runs.reader",
    "group_runs": "dal.analysis.grouping",
    "is_run": "dal.runs.reader",
    "labels_to_reach": "dal.analysis.statistics.curves",
    "mean_and_interval": "dal.analysis.statistics.curves",
    "mean_costs": "dal.analysis.per_round",
    "paired_difference": "dal.analysis.statistics.curves",
    "reach": "dal.analysis.targets",
    "read_run": "dal.runs.reader",
    "round_costs": "dal.analysis.per_round",
    "summarize_runs": "dal.analysis.summary",
    "target_of": "dal.analysis.targets",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use.

    The statistics of arrays then load without pandas, and ``dal run`` starts without it.
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'dal.analysis' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the names that are not imported yet too, for completion."""
    return sorted({*globals(), *__all__})
