"""Diagnosis of a run: what it learned and lost, what its queries did, and what to collect next."""
