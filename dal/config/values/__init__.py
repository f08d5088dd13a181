"""Handling of option values: references, sweeps, text and paths."""
