"""Sweeps: runs a grid of campaigns, and resumes unfinished ones."""
