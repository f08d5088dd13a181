"""Runs a user's module: its batch form, its head and its scoring passes."""
