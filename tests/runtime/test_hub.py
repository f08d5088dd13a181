"""A hub that does not answer: the cache is read, and nobody waits."""

import logging
import socket
import sys
from types import SimpleNamespace

import pytest

from dal.runtime.hub import offline_if_unreachable


@pytest.fixture
def constants(monkeypatch):
    found = SimpleNamespace(HF_HUB_OFFLINE=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", found)
    for name in ("HF_ENDPOINT", "https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return found


def refuse(*arguments):
    raise OSError("no network")


def test_an_unreachable_hub_is_offline_inside_the_block_only(constants, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(FileNotFoundError), offline_if_unreachable():
        assert constants.HF_HUB_OFFLINE
        raise FileNotFoundError
    assert not constants.HF_HUB_OFFLINE


def test_a_hub_that_answers_is_used(constants, monkeypatch):
    asked = []

    def connect(address, timeout):
        asked.append(address)
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(socket, "create_connection", connect)
    with offline_if_unreachable():
        assert not constants.HF_HUB_OFFLINE
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror:8080")
    with offline_if_unreachable():
        assert not constants.HF_HUB_OFFLINE
    assert asked == [("huggingface.co", 443), ("mirror", 8080)]


def test_a_proxy_is_left_to_the_library(constants, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    with offline_if_unreachable():
        assert not constants.HF_HUB_OFFLINE


def test_a_user_who_is_offline_stays_so(constants):
    constants.HF_HUB_OFFLINE = True
    with offline_if_unreachable():
        pass
    assert constants.HF_HUB_OFFLINE


def test_retries_are_not_printed_in_the_block(constants, caplog, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", refuse)
    logger = logging.getLogger("huggingface_hub.utils._http")
    # Other tests may have loaded libraries that keep the messages of their loggers.
    for name, value in (("handlers", [caplog.handler]), ("propagate", False), ("disabled", False), ("level", 30)):
        monkeypatch.setattr(logger, name, value)

    def log():
        for text in ("Retrying in 1s [Retry 1/5].", "'timeout' thrown while requesting HEAD https://x", "Deprecated."):
            logger.warning(text)

    with offline_if_unreachable():
        log()
    assert caplog.messages == ["Deprecated."]
    log()
    assert len(caplog.messages) == 4
