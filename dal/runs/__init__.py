"""The run folder: its journals, how they are written, and how they are read."""
