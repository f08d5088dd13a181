"""Lightning's Trainer in a round: options, the user's objects, and the run."""
