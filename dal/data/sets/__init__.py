"""Data sets: a module here that defines one DataConfig is one option of `data=`."""
