"""Foundations of all packages: seeds, ranks, memory, precision, progress."""
