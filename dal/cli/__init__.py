"""The command line: `dal run`, `dal rank`, `dal report`, `dal compare`."""
