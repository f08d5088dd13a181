"""Statistics on arrays: curves, bootstrap, paired tests, ranks."""
