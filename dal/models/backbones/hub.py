"""Reads pre-trained weights of the Hugging Face hub without waiting for a network that does not exist."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

_CONNECT_SECONDS = 5.0
_HUB = "https://huggingface.co"


@contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Let the hub's library read only its cache in the block if the hub does not answer.

    Its own retries take most of a minute.
    """
    constants: Any = sys.modules.get("huggingface_hub.constants")
    if constants is None or constants.HF_HUB_OFFLINE or _is_reachable():
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False


def _is_reachable() -> bool:
    hub = urlsplit(os.environ.get("HF_ENDPOINT") or _HUB)
    if hub.hostname is None or hub.scheme in getproxies():
        return True  # only the library knows how to reach it
    try:
        port = hub.port or (80 if hub.scheme == "http" else 443)
        socket.create_connection((hub.hostname, port), _CONNECT_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True
