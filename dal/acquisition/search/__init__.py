"""Exact search engines over rows in memory or on disk."""
