"""Stopping rules of a campaign."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dal.costs.prices import PricesConfig
from dal.errors import DalError, bad_value
from dal.runs.round import SPLITS, Round
from dal.stopping.agreement import changed_share, mean_pairwise_kappa
from dal.stopping.config import MIN_ROUNDS_OF_COST, CampaignConfig
from dal.stopping.cost import next_round_cost, next_round_worth
from dal.stopping.sizes import next_query_size

Rows = Sequence[Round]


def check_metric(
    config: CampaignConfig, has_test: bool, prices: PricesConfig | None = None, has_validation: bool = False
) -> None:
    """Raise DalError if a stopping rule lacks its metric or prices."""
    if config.target is None and config.plateau_rounds is None and not config.cost_optimum:
        return
    validated = has_validation or config.validation_size > 0
    missing = not has_test if config.target_metric.startswith("test") else not validated
    if missing:
        raise bad_value(
            "campaign.target_metric", "a metric that is measured (no test or validation set)", config.target_metric
        )
    if config.cost_optimum:
        _check_prices(prices)


def reason_to_stop(
    config: CampaignConfig,
    rows: Rows,
    num_unlabeled: int,
    prices: PricesConfig | None = None,
    num_affordable: int | None = None,
) -> str | None:
    """Return the reason to stop after the last round, or None.

    ``num_affordable`` is the number of unlabeled points that cost no more than what is left; None if they cost one
    each.

    If several reasons apply, the function returns the first in this order:

    target: the metric has reached its target.
    plateau: the last rounds brought no gain (see plateaued).
    stable_predictions: the predictions of the last models on the stop set agree, measured by the mean of Cohen's kappa
        over all pairs (stabilizing predictions, Bloodgood and Vijay-Shanker, CoNLL 2009, arXiv:1409.5165, who use 0.99
        and 3; analyzed in arXiv:1504.06329).
    classification_change: the share of predictions on the stop set that changed since the last round is at most
        max_change (Zhu, Wang and Hovy, COLING 2008, who wait for no change).
    certain: the mean uncertainty on the stop set is at most max_uncertainty (overall uncertainty; Zhu, Wang, Hovy and
        Ma, TSLP 2010).
    cost_optimum: the expected cost of the next round exceeds the value of its gain (see dal.stopping.cost).
    rounds, pool_empty, budget: a limit is reached.

    Raises DalError if the rows lack a metric or predictions, or if cost_optimum has no prices.
    """
    rules: dict[str, Callable[[], bool]] = {
        "target": lambda: config.target is not None and _metric(config, rows[-1]) >= config.target,
        "plateau": lambda: (
            config.plateau_rounds is not None
            and plateaued([_metric(config, row) for row in rows], config.plateau_rounds, config.plateau_delta)
        ),
        "stable_predictions": lambda: _stable(config, rows),
        "classification_change": lambda: _unchanged(config, rows),
        "certain": lambda: (
            config.max_uncertainty is not None and _of_stop_set(rows[-1], "stop_uncertainty") <= config.max_uncertainty
        ),
        "cost_optimum": lambda: config.cost_optimum and _too_dear(config, rows, num_unlabeled, prices),
        "rounds": lambda: config.max_rounds is not None and len(rows) >= config.max_rounds,
        "pool_empty": lambda: num_unlabeled == 0,
        "budget": lambda: rows[-1].spent(config.cost) >= config.budget or num_affordable == 0,
    }
    return next((reason for reason, holds in rules.items() if holds()), None)


def plateaued(values: Sequence[float], num_rounds: int, delta: float) -> bool:
    """Whether the last ``num_rounds`` values gain less than ``delta``.

    The gain is the difference between the best of these values and the best before them.

    >>> plateaued([0.5, 0.8, 0.8, 0.8], 2, 0.01), plateaued([0.5, 0.8, 0.8, 0.9], 2, 0.01)
    (True, False)
    """
    if len(values) <= num_rounds:
        return False
    return max(values[-num_rounds:]) - max(values[:-num_rounds]) < delta


def _stable(config: CampaignConfig, rows: Rows) -> bool:
    if config.kappa is None or len(rows) < config.kappa_rounds:
        return False
    return mean_pairwise_kappa([_predictions(row) for row in rows[-config.kappa_rounds :]]) >= config.kappa


def _unchanged(config: CampaignConfig, rows: Rows) -> bool:
    if config.max_change is None or len(rows) < 2:
        return False
    return changed_share(_predictions(rows[-2]), _predictions(rows[-1])) <= config.max_change


def _too_dear(config: CampaignConfig, rows: Rows, num_unlabeled: int, prices: PricesConfig | None) -> bool:
    checked = _check_prices(prices)
    size = next_query_size(config, rows, rows[-1].labels_bought, num_unlabeled)
    if len(rows) < MIN_ROUNDS_OF_COST or not size:
        return False
    accuracy = [_metric(config, row) for row in rows]
    return next_round_worth(rows, accuracy, size, checked) < next_round_cost(rows, size, checked)


def _check_prices(prices: PricesConfig | None) -> PricesConfig:
    if prices is None or prices.accuracy_point is None:
        raise bad_value("prices.accuracy_point", "a price for campaign.cost_optimum", None)
    if not prices.known:
        raise DalError(
            "prices: expected a label, label_hour, gpu_hour or kwh price for campaign.cost_optimum, got none."
        )
    return prices


def _predictions(row: Round) -> Sequence[int]:
    predictions: Sequence[int] = _of_stop_set(row, "stop_predictions")
    return predictions


def _of_stop_set(row: Round, key: str) -> Any:
    value = row.get(key)
    if value is None or value == []:
        raise DalError(f"campaign.stop_set_size: expected rounds with {key}, got round {row.get('round')} without it.")
    return value


def _metric(config: CampaignConfig, row: Round) -> float:
    value = row.get(config.target_metric)
    if not isinstance(value, int | float):
        known = [f"{s}_{name}" for s in SPLITS for name, v in row.metrics(s).items() if isinstance(v, float)]
        raise DalError(
            f"campaign.target_metric: expected one of {', '.join(known) or 'the metrics of a test set'}, got "
            f"{config.target_metric!r}."
        )
    return float(value)
