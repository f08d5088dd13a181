"""Imported by the server that cells are forked from, before all else: from then on a Ctrl-C in the terminal, which is
for the sweep, does not come here."""

import os

os.setsid()
