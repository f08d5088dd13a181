"""Files of a run folder: atomic writes, digests, and the last commit."""
