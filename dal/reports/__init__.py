"""Reports on run folders: `dal report` and `dal compare`."""
