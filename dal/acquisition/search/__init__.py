"""What core-set and BADGE search with: distances that are brought up to date only where they decide, over rows that may
lie on disk or with other processes."""
