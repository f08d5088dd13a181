"""Signals during training reach the caller as what they are, whatever Lightning makes of them."""

import os
import signal
import time

import pytest
from helpers.modules import Mine, learner_of

from dal.training.trainer import lightning
from dal.training.trainer.lightning import keyboard_interrupt, termination


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


class Signals(Mine):
    """Sends a signal to its own process in the second batch."""

    number = signal.SIGTERM

    def training_step(self, batch, batch_idx):
        if self.trainer.global_step == 1:
            os.kill(os.getpid(), self.number)
        self.last = self.trainer.global_step
        return super().training_step(batch, batch_idx)


class Requeued(Signals):
    number = signal.SIGUSR1


def ends_with_143(kind):
    learner = learner_of(kind)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    with pytest.raises(SystemExit) as ended:
        learner.fit()
    assert ended.value.code == 143
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)] == handlers
    return learner


@pytest.fixture
def no_handlers():
    """As in a new process, whatever other tests have left."""
    new = {
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGUSR1: signal.SIG_DFL,
        signal.SIGINT: signal.default_int_handler,
    }
    before = {number: signal.signal(number, handler) for number, handler in new.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_sigterm_ends_training_with_its_own_status(no_handlers):
    assert ends_with_143(Signals).model.module.last == 0, "at once"


def test_sigterm_does_so_beside_a_handler_of_the_user(no_handlers):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *args: seen.append(1))
    try:
        assert ends_with_143(Signals).model.module.last == 1, "after the batch, as Lightning does"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [1]


@pytest.fixture
def slurm(monkeypatch, no_handlers):
    for name, value in {"NTASKS": "1", "JOB_ID": "77", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "1")
    commands = []
    monkeypatch.setattr(lightning.subprocess, "run", lambda command, check: commands.append(command))
    return commands


def test_a_slurm_job_is_requeued_without_a_checkpoint_of_lightnings_own(slurm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ends_with_143(Requeued)
    assert slurm == [["scontrol", "requeue", "77"]]
    assert list(tmp_path.iterdir()) == []


def test_sigterm_in_a_slurm_job_requeues_nothing(slurm):
    ends_with_143(Signals)
    assert slurm == []


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_in_a_finalizer_ends_the_run_too(number, raised, no_handlers):
    class Finalized:
        def __del__(self):
            os.kill(os.getpid(), number)
            sum(range(10_000))  # Python handles the signal here, and would ignore the exception

    def wait():
        del held[:]
        for _ in range(3000):  # long enough for the signal to come again
            time.sleep(0.01)

    held = [Finalized()]
    with pytest.raises(raised), termination():
        wait()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
