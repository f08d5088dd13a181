"""What every room stands on: seeds, ranks, memory, precision, progress."""
