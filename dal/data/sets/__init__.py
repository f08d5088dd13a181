"""Data sets. Each module with a DataConfig is an option of ``data=``."""
