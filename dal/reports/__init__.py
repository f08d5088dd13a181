"""Reports on run folders: the overview of `dal report`, and the comparison of `dal compare`."""
