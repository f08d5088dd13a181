"""Scores the sites of images, and pools them to units."""
