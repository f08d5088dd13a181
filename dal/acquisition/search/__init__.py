"""Exact search engines of the acquisition functions, over rows in memory or on disk."""
