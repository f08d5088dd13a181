"""Queries of a campaign whose budget is in clicks or another cost.

Costs of images and pixels are known before a query, those of clicks and seconds only from a mask. A query takes the
candidates best first while their expected cost fits its size. The masks then decide: in order, labels are bought until
what is left of the budget does not pay the next one, which is skipped. What is bought thus never costs more than what
is left. Points that cost more than what is left are no candidates, so every query buys at least one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dal.costs.units import Measured, click_model
from dal.errors import bad_value
from dal.labeling.query import Query
from dal.labeling.unit_costs import PoolCosts
from dal.loop import ActiveLearner
from dal.runs.round import Round
from dal.scoring.arguments import keeps_scores
from dal.scoring.limit import Limit
from dal.stopping import CampaignConfig, next_query_cost, next_query_size


def costs_for(learner: ActiveLearner, campaign: CampaignConfig, has_people: bool) -> PoolCosts | None:
    """Return what the points of the learner cost, or None for data without masks.

    Raises DalError if the cost of the campaign does not fit the data, the oracle, or the options of the learner.
    """
    masks = learner.data.masks
    learner.unit_options.check(learner.acquisition, campaign.cost)
    if campaign.cost != "units":
        if masks is None:
            raise bad_value("campaign.cost", f"units with {learner.data.task.name} data", campaign.cost)
        if has_people:
            expected = "units with oracle=people, because the cost is known only after they label"
            raise bad_value("campaign.cost", expected, campaign.cost)
        if keeps_scores(learner.candidates):
            raise bad_value("campaign.cost", "units with candidates that keep scores", campaign.cost)
    if masks is None and campaign.clicks is not None:
        raise bad_value("campaign.clicks", f"null with {learner.data.task.name} data", campaign.clicks)
    model = click_model(campaign.clicks)
    few = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    Measured(few, 8 * (few - 1), 64 * few).clicks(model)  # an error now, before labels are bought
    return None if masks is None else PoolCosts(masks, learner.data.units, model, campaign.click_seconds)


def ask_within_budget(
    learner: ActiveLearner, campaign: CampaignConfig, rows: list[Round], costs: PoolCosts | None
) -> Query:
    """Return the next query. Raises DalError if the initial set costs more than the budget."""
    if costs is None or campaign.cost == "units":
        return learner.ask(next_query_size(campaign, rows, learner.labels_bought, learner.pool.num_unlabeled))
    bought = bought_points(learner)
    if not rows:
        query = learner.ask(min(campaign.initial_size, learner.pool.num_unlabeled))
        check_cost(campaign, costs, bought, query.indices, "initial")
        return query

    def expected(points: Tensor, clicks: Tensor | None) -> Tensor:
        return costs.expected(campaign.cost, points, clicks, bought)

    limit = Limit(
        next_query_cost(campaign, rows),
        expected,
        typical=1.0 if campaign.cost == "images" else None,
        units_per_image=costs.units_per_image,
        options=learner.unit_options,
        click_model=costs.model if campaign.cost in ("clicks", "seconds") else None,
        allowed=_allowed(learner, campaign, costs),
    )
    query = learner.ask(learner.pool.num_unlabeled, limit)
    places = costs.affordable(campaign.cost, torch.tensor(query.indices), bought, campaign.budget)
    return query.at(places)


def check_cost(campaign: CampaignConfig, costs: PoolCosts | None, bought: Tensor, points: Any, kind: str) -> None:
    """Raise DalError if points of the start of a campaign, which no query chooses, cost more than what is left."""
    if costs is None or campaign.cost == "units":
        return
    needed = costs.spent(campaign.cost, torch.cat([bought, torch.tensor(list(points), dtype=torch.int64)]))
    if needed > campaign.budget:
        so_far = f" that labels up to the {kind} set cost"
        raise bad_value("campaign.budget", f"at least the {needed:,.10g} {campaign.cost}{so_far}", campaign.budget)


def num_affordable(learner: ActiveLearner, campaign: CampaignConfig, costs: PoolCosts | None) -> int | None:
    """Return the number of candidates that what is left can pay, or None if labels are counted."""
    if costs is None or campaign.cost == "units":
        return None
    return int(_allowed(learner, campaign, costs)[learner.pool.unlabeled].sum())


def cost_row(learner: ActiveLearner, costs: PoolCosts | None) -> Mapping[str, float]:
    """Return what all labels so far cost, for a row of the journal."""
    return {} if costs is None else costs.row(bought_points(learner))


def bought_points(learner: ActiveLearner) -> Tensor:
    """Return all points with a label that was paid, in the order of their purchase."""
    held = [points[0] for points in (learner.test, learner.validation) if points is not None]
    return torch.cat([*held, learner.pool.labeled])


def _allowed(learner: ActiveLearner, campaign: CampaignConfig, costs: PoolCosts) -> Tensor:
    """Return (N,) bool: the candidates that what is left can pay."""
    points, bought = learner.pool.unlabeled, bought_points(learner)
    left = campaign.budget - costs.spent(campaign.cost, bought)
    allowed = torch.zeros(learner.pool.size, dtype=torch.bool)
    allowed[points] = costs.true(campaign.cost, points, bought) <= left
    return allowed
