"""What a run costs: the ledger of a round, FLOPs, energy, prices, forecasts."""
