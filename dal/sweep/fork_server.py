"""Detaches the fork server from the terminal.

The fork server imports this module first, so that Ctrl-C reaches only the sweep.
"""

import os

if os.getsid(0) != os.getpid():  # The leader of a session is detached already.
    os.setsid()
