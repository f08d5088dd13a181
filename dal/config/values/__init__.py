"""Values of options: references, sweeps, texts and paths."""
