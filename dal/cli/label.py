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
from dal.cli.trainer_keeper import TrainerKeeper
from dal.data.sources.folder.gone import gone_sentence
from dal.errors import DalError, bad_value
from dal.labeling.people.events import DAL, is_annotator
from dal.labeling.people.gone import given_up
from dal.labeling.people.leases import Leases
from dal.labeling.people.page.address import Address, last_address, only_page, remember_address
from dal.labeling.people.page.facts import RunFacts
from dal.labeling.people.page.images import DataPictures, FolderPictures, Pictures
from dal.labeling.people.page.mask_desk import MaskDesk, UnitPictures
from dal.labeling.people.page.security import read_token
from dal.labeling.people.page.server import PageServer
from dal.labeling.people.page.session import LabelingSession
from dal.labeling.people.people_run import PeopleRun
from dal.labeling.people.start import read_start
from dal.runs.layout import LEASES
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
        for sentence in [*_sizes(run), *run.changes()]:
            print(visible(sentence))
        print(f"Label at {address}\nTo end the page, press Ctrl-C.", flush=True)
        if options.open:
            webbrowser.open(address)
        trainer = None if options.no_train else TrainerKeeper(run)
        try:
            _wait(run, trainer)
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


def _sizes(run: PeopleRun) -> list[str]:
    """Return a sentence about the sizes of a new run that follow from the number of its images."""
    sizes = [] if run.is_committed else read_start(run.path)["sizes"]
    unit = "image" if len(run.ids) == len(run.image_ids) else "region"
    images = f"{len(run.ids):,} {unit}{'' if len(run.ids) == 1 else 's'}"
    return [f"Sizes for {images}: {', '.join(sizes)}."] if sizes else []


def _counts(run: PeopleRun) -> str:
    bought = run.answers.refresh().bought
    return f"{bought:,} answer{' is' if bought == 1 else 's are'} saved."


def _wait(run: PeopleRun, trainer: TrainerKeeper | None) -> NoReturn:
    """Wait for Ctrl-C, and print what the trainer does, which images disappear, or that the budget is spent."""
    budget, has_told, seq = _budget(run), False, run.answers.fold.seq
    while True:
        time.sleep(_POLL_SECONDS)
        seq = _tell_gone(run, seq)
        for line in [] if trainer is None else trainer.look():
            print(visible(line), flush=True)
        if trainer is None and not has_told and budget is not None and run.answers.fold.bought >= budget:
            has_told = True
            print(
                f"The budget of {budget:,} labels is spent: the page asks for no more. To end it, press Ctrl-C.",
                flush=True,
            )


def _budget(run: PeopleRun) -> int | None:
    return None if run.setting("campaign.budget") is None else run.count("campaign.budget")


def _tell_gone(run: PeopleRun, since: int) -> int:
    """Name the images that dal has called unreadable after event ``since``, and return the last event.

    Those that were gone at the start are named already.
    """
    with run.answers.mutex:
        fold = run.answers.refresh()
        ids = [run.ids[index] for index in given_up(fold, range(since + 1, fold.seq + 1))]
    named = set(run.lost)
    if new := [id for id in ids if id not in named]:
        print(visible(gone_sentence(run.root or run.path, new)), flush=True)
    return fold.seq


def _server(run: PeopleRun, options: argparse.Namespace) -> PageServer:
    """Return a server at the last address of the run, if it is free, so that open pages go on."""
    last = last_address(run.path)
    token = last.token if options.token_file is None else read_token(Path(options.token_file))
    session, pictures = _session(run, has_trainer=not options.no_train), _pictures(run)
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


def _session(run: PeopleRun, has_trainer: bool) -> LabelingSession:
    return LabelingSession(
        run.answers,
        run.asked,
        run.ids,
        Leases(_LEASE_SECONDS, run.count("oracle.overlap", 1)),
        lease_file=run.path / LEASES,
        run=str(run.path.resolve()),
        facts=RunFacts(run.path, has_trainer),
        budget=_budget(run),
        give_up=run.give_up,
        prefetch=run.count("oracle.prefetch", 8),
        masks=None if run.places is None else MaskDesk(run.places, run.mask_book),
    )


def _pictures(run: PeopleRun) -> Pictures:
    if run.places is not None:
        return UnitPictures(run.places)
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
