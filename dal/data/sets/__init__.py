"""Data sets: each module with a DataConfig is an option."""
