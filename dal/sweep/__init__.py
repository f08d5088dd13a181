"""A grid of campaigns: which there are, how far each is, and running those that are missing."""
