"""Analysis of run folders: reading them, grouping runs that may be averaged, and the numbers of learning curves."""

from dal.analysis.curves import area_under_curve, labels_to_reach, mean_and_interval, paired_difference
from dal.analysis.groups import Group, group_runs
from dal.analysis.runs import NoRoundsError, Run, find_runs, is_run, read_run
from dal.analysis.summary import summarize_runs

__all__ = [
    "Group",
    "NoRoundsError",
    "Run",
    "area_under_curve",
    "find_runs",
    "group_runs",
    "is_run",
    "labels_to_reach",
    "mean_and_interval",
    "paired_difference",
    "read_run",
    "summarize_runs",
]
