"""What a round buys: a number of labels, or labels of a cost."""

from __future__ import annotations

from collections.abc import Sequence

from dal.errors import DalError, bad_value
from dal.runs.round import Round
from dal.stopping.config import CampaignConfig


def check_sizes(config: CampaignConfig, num_points: int) -> None:
    """Raise DalError if the pool is too small for the configured sizes.

    The pool must hold the test set, the validation set, the initial set and the first query.
    """
    sizes = (("test_size", 0), ("validation_size", config.test_size), ("initial_size", config.held_out_size))
    for name, taken in sizes:
        left = num_points - taken
        if getattr(config, name) > left:
            error = bad_value(f"campaign.{name}", f"at most the {left} points of the pool", getattr(config, name))
            raise DalError(f"{error}{_advice(left) if name == 'initial_size' else ''}")
    if config.cost != "units":
        return
    left = num_points - config.held_out_size - config.initial_size
    bought = config.held_out_size + config.initial_size
    if left and config.max_rounds != 1 and bought < config.budget and config.query_size > left:
        raise bad_value(
            "campaign.query_size", f"at most the {left} points left after the initial set", config.query_size
        )


def _advice(left: int) -> str:
    """Return sizes that fit the points that the test set and the validation set leave, as a sentence."""
    size = left // 4
    return f" For example, set campaign.initial_size={size} campaign.query_size={size}." if size else ""


def next_query_size(config: CampaignConfig, rows: Sequence[Round], labels_bought: int, num_unlabeled: int) -> int:
    """Return the number of labels of the next query, or 0.

    It is for ``campaign.cost=units``, and 0 if the budget or the pool is exhausted.

    >>> next_query_size(CampaignConfig(budget=250), [Round(), Round()], labels_bought=200, num_unlabeled=1000)
    50
    """
    return _affordable(config, config.size_of_query(len(rows)), labels_bought, num_unlabeled)


def next_query_cost(config: CampaignConfig, rows: Sequence[Round]) -> float:
    """Return what the query after these rounds may cost, for another cost than units.

    >>> next_query_cost(CampaignConfig(cost="clicks", budget=250), [Round(cost_clicks=180.5)])
    69.5
    """
    return max(0.0, min(config.size_of_query(len(rows)), config.budget - rows[-1].spent(config.cost)))


def largest_query(config: CampaignConfig, num_points: int) -> int:
    """Return the largest query size after the initial round, or 0.

    With another cost than units it is not known before, and 1 is returned.

    >>> largest_query(CampaignConfig(initial_size=100, query_size=100, growth=2, budget=600), num_points=1000)
    200
    """
    if config.cost != "units":
        return 1
    bought, largest, round = config.initial_size + config.held_out_size, 0, 1
    while config.max_rounds is None or round < config.max_rounds:
        size = _affordable(config, config.size_of_query(round), bought, num_points - bought)
        if not size:
            break
        bought, largest, round = bought + size, max(largest, size), round + 1
    return largest


def _affordable(config: CampaignConfig, size: int, labels_bought: int, num_unlabeled: int) -> int:
    return max(0, min(size, config.budget - labels_bought, num_unlabeled))
