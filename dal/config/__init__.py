"""The configuration of a run: its dataclasses, what they build, and overrides of the command line."""
