"""One pass of a model over the pool, and one choice from what it keeps."""
