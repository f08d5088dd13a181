"""Reads from the Hugging Face hub without waiting for a network that does not exist."""

from __future__ import annotations

import logging
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

    Its own retries take most of a minute. It prints no retries in the block, because dal says what failed.
    """
    constants: Any = sys.modules.get("huggingface_hub.constants")
    if constants is None:
        yield
        return
    # The module that sends requests logs them, and a filter of a logger does not apply to those below it.
    logger = logging.getLogger("huggingface_hub.utils._http")
    before = constants.HF_HUB_OFFLINE
    logger.addFilter(_is_no_retry)
    constants.HF_HUB_OFFLINE = bool(before or not _is_reachable())
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        logger.removeFilter(_is_no_retry)


def _is_no_retry(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return "Retry" not in text and " thrown while requesting " not in text


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
