"""Detaches the fork server from the terminal.

The fork server imports this module first, so that Ctrl-C reaches only the sweep.
"""

import os

os.setsid()
