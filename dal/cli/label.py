"""`dal label`: a page on which people label, and a trainer beside it."""

from __future__ import annotations

import argparse
import signal
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode

from dal.cli.label_start import open_run
from dal.cli.trainer_child import TrainerChild
from dal.errors import DalError, bad_value
from dal.labeling.people.events import DAL, is_annotator
from dal.labeling.people.leases import Leases
from dal.labeling.people.page.address import Address, last_address, only_page, remember_address
from dal.labeling.people.page.facts import RunFacts
from dal.labeling.people.page.images import DataPictures, FolderPictures, Pictures
from dal.labeling.people.page.security import read_token
from dal.labeling.people.page.server import PageServer
from dal.labeling.people.page.session import LabelingSession
from dal.labeling.people.people_run import PeopleRun
from dal.runs.layout import LEASES
from dal.runs.stopped import why_stopped
from dal.runtime.safe_text import visible

_POLL_SECONDS = 0.2
_LEASE_SECONDS = 300.0
_INTERRUPTED, _TERMINATED = 130, 143


class _Terminated(BaseException):
    """SIGTERM."""


def label_command(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C or SIGTERM, and return the exit status.

    Raises DalError for a run that cannot be started or opened, and for an invalid option.
    """
    if options.annotator is not None and (not is_annotator(options.annotator) or options.annotator == DAL):
        raise bad_value("--annotator", f"1 to 64 letters, digits or ._@-, and not {DAL}", options.annotator)
    run = open_run(options.paths, options.classes)
    with only_page(run.path), _termination(), _server(run, options) as server:
        name = {} if options.annotator is None else {"name": options.annotator}
        address = server.url + (f"&{urlencode(name)}" if name else "")
        print(visible(f"{run.path}: {_counts(run)}"))
        print(f"Label at {address}\nTo end the page, press Ctrl-C.", flush=True)
        if options.open:
            webbrowser.open(address)
        trainer = None if options.no_train else TrainerChild(run.path)
        try:
            return _wait(run, trainer)
        except (KeyboardInterrupt, _Terminated) as stop:
            print(f"\nStopped. {_counts(run)} The same command goes on.")
            return _INTERRUPTED if isinstance(stop, KeyboardInterrupt) else _TERMINATED
        finally:
            if trainer is not None:
                trainer.stop()


@contextmanager
def _termination() -> Iterator[None]:
    """Raise _Terminated on SIGTERM, so that the trainer ends in order."""

    def terminate(number: int, frame: Any) -> NoReturn:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _counts(run: PeopleRun) -> str:
    bought = run.answers.refresh().bought
    return f"{bought:,} answer{' is' if bought == 1 else 's are'} saved."


def _wait(run: PeopleRun, trainer: TrainerChild | None) -> int:
    """Wait for Ctrl-C, and report how the trainer ends."""
    told = False
    while True:
        time.sleep(_POLL_SECONDS)
        if trainer is None or told or trainer.status is None:
            continue
        told = True
        if trainer.status == 0:
            stopped = RunFacts(run.path)().stopped
            why = "" if stopped is None else f", because {why_stopped(stopped)}"
            print(f"Done{why}. The model is trained. To end the page, press Ctrl-C.", flush=True)
            continue
        if trainer.status == 2 and not run.is_committed and not run.answers.refresh().seq:
            run.discard_start()
            raise DalError(trainer.last_words().removesuffix(".") + ".")
        words = trainer.last_words()
        trainer.tell_phase("stopped", words)
        sentence = f"The trainer has stopped: {words} Answers are still saved. See {trainer.log}."
        print(visible(sentence), flush=True)


def _server(run: PeopleRun, options: argparse.Namespace) -> PageServer:
    """Return a server at the last address of the run, if it is free, so that open pages go on."""
    last = last_address(run.path)
    token = last.token if options.token_file is None else read_token(Path(options.token_file))
    session, pictures = _session(run), _pictures(run)
    names = [name.lower() for name in options.server_name]

    def at(port: int) -> PageServer:
        has_file = options.token_file is not None
        return PageServer(
            session, pictures, host=options.host, port=port, token=token, has_token_file=has_file, names=names
        )

    try:
        server = at(options.port or last.port)
    except DalError:
        if options.port or not last.port:
            raise
        server = at(0)
    # A token that the user keeps in a file is not copied.
    remember_address(run.path, Address(server.port, last.token))
    return server


def _session(run: PeopleRun) -> LabelingSession:
    return LabelingSession(
        run.answers,
        run.asked,
        run.ids,
        Leases(_LEASE_SECONDS, run.setting("oracle.overlap", 1)),
        lease_file=run.path / LEASES,
        run=str(run.path.resolve()),
        facts=RunFacts(run.path),
        budget=run.setting("campaign.budget"),
        prefetch=run.setting("oracle.prefetch", 8),
    )


def _pictures(run: PeopleRun) -> Pictures:
    if run.files is not None and run.root is not None:
        return FolderPictures(run.root, run.files)
    return DataPictures(len(run.ids), _loader(run))


def _loader(run: PeopleRun) -> Callable[[], object]:
    def load() -> object:
        # Only data sets that are not folders need PyTorch to show an image.
        from dal.config.saved_run import config_to_rank
        from dal.config.schema import build
        from dal.data import load as load_data

        return load_data(build(config_to_rank(run.path, ())).data).train

    return load
