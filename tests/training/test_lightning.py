"""Ctrl-C during training reaches the caller as KeyboardInterrupt, whatever Lightning makes of it."""

import signal

import pytest

from dal.training.lightning import keyboard_interrupt


@pytest.mark.parametrize("error", [SystemExit(1), RuntimeError("half a teardown"), AttributeError("no loop yet")])
def test_what_follows_an_interrupt_is_an_interrupt(error):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), keyboard_interrupt():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise error  # noqa: B904  as Lightning does
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("error", [SystemExit(3), RuntimeError("shapes")])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as raised, keyboard_interrupt():
        raise error
    assert raised.value is error
