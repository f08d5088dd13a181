"""Analysis of run folders: reading, grouping and learning curves."""

from dal.analysis.grouping import Group, group_runs
from dal.analysis.reach import Reach, reach, target_of
from dal.analysis.round_costs import common_prices, mean_costs, round_costs
from dal.analysis.statistics.curves import area_under_curve, labels_to_reach, mean_and_interval, paired_difference
from dal.analysis.summary import summarize_runs
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
