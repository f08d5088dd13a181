"""What a command does while it loads its libraries."""

import gc
import signal
import subprocess
import sys

import pytest

from dal.cli.loading import loading

INTERRUPTED_AT = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, *more):
        if name == sys.argv[1]:
            # As libraries do that go on without what they cannot import.
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                raise ImportError("interrupted")

sys.meta_path.insert(0, Interrupt())
signal.signal(signal.SIGINT, signal.default_int_handler)
from dal.cli.main import main
main(sys.argv[2:])
"""


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("dal.cli.commands", ["--help"]),
        ("dal.errors", ["run"]),
        ("dal.cli.run", ["run"]),
        ("dal.cli.rank", ["rank", "runs"]),
        ("dal.reports.overview", ["report", "runs"]),
        ("dal.cli.label", ["label", "photos"]),
    ],
)
def test_ctrl_c_during_imports_is_one_line_and_status_130(module, arguments):
    command = [sys.executable, "-c", INTERRUPTED_AT, module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    lines = [line for line in done.stderr.splitlines() if line != "Loading PyTorch and Lightning ..."]
    assert (done.returncode, done.stdout, lines) == (130, "", ["Stopped before the command started."])


def test_afterwards_signals_and_collections_are_as_before():
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), loading():
        assert not gc.isenabled() and signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        raise ZeroDivisionError
    assert gc.isenabled() and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_program_that_handles_or_ignores_ctrl_c_keeps_doing_so(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    try:
        with loading():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert not gc.isenabled()
    finally:
        gc.enable()
        signal.signal(signal.SIGINT, before)
