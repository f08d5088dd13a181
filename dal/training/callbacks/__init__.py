"""Lightning callbacks of a round."""
