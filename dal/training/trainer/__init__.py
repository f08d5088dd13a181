"""Lightning's Trainer in a round: its options, the user's objects, and the run."""
