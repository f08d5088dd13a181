"""Costs of a run: ledger, FLOPs, energy, prices, forecasts."""
