"""Runs a user's module: batch form, head and scoring passes."""
