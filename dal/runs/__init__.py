"""The run folder: writing, resuming and reading it."""
