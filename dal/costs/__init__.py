"""Costs of a run: ledger, FLOPs, energy, prices, forecasts."""

from dal.costs.phases import Costs, total_costs
from dal.costs.prices import PricesConfig

__all__ = ["Costs", "PricesConfig", "total_costs"]
