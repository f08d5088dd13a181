"""Stopping rules and query sizes, as pure functions of the records."""

from dal.stopping.agreement import changed_share, cohen_kappa, mean_pairwise_kappa
from dal.stopping.config import TARGET_METRICS, CampaignConfig, for_task
from dal.stopping.cost import next_round_cost, next_round_worth
from dal.stopping.replay import replay
from dal.stopping.rules import check_metric, plateaued, reason_to_stop
from dal.stopping.sizes import check_sizes, largest_query, next_query_cost, next_query_size

__all__ = [
    "TARGET_METRICS",
    "CampaignConfig",
    "changed_share",
    "check_metric",
    "check_sizes",
    "cohen_kappa",
    "for_task",
    "largest_query",
    "mean_pairwise_kappa",
    "next_query_cost",
    "next_query_size",
    "next_round_cost",
    "next_round_worth",
    "plateaued",
    "reason_to_stop",
    "replay",
]
