"""Detaches the fork server from the terminal, and collects no garbage in it.

The fork server imports this module first, so that Ctrl-C reaches only the sweep. Imports are faster without the
collections, which the forked processes make again.
"""

import gc
import os

gc.disable()
os.register_at_fork(after_in_child=gc.enable)

if os.getsid(0) != os.getpid():  # The leader of a session is detached already.
    os.setsid()
