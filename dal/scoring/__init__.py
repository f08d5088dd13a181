"""One model pass over the pool, and selection from its outputs."""
