"""`dal replay`: makes the picks and weights of a run with people again, and compares them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dal.campaign.replayed import replay
from dal.cli.run_data import load_for_run
from dal.cli.terminal import CampaignProgress
from dal.config.saved_run import config_to_rank
from dal.config.schema import build
from dal.config.trainer import with_objects
from dal.errors import DalError, bad_value
from dal.labeling.people.oracle import People
from dal.runs.environment import environment, other_environment, recorded_environments, recorded_threads
from dal.runs.restored import read_run_folder
from dal.runtime.console import SafeConsole
from dal.training.trainer.lightning import termination


def replay_command(run: str, to: int | None = None) -> int:
    """Replay a run with people, and return the exit status: 0 for the same picks and weights, 1 for a difference.

    ``to`` is the last round to replay. Raises DalError for another kind of run, damaged files and other data.
    """
    path = Path(run)
    built = build(config_to_rank(path, []))
    if not built.has_people:
        raise DalError(f"run: expected a run with oracle=people, got oracle=dataset in {run!r}. Run it again instead.")
    built = replace(built, run_dir=str(path), trainer=with_objects(built.trainer))
    splits = load_for_run(built, path)
    records = read_run_folder(path, splits.fingerprint())
    if to is not None and not 0 <= to < len(records.rows):
        raise bad_value("--to", f"a finished round from 0 to {len(records.rows) - 1}", to)
    console = SafeConsole(soft_wrap=True)
    starts = recorded_environments(path)
    with _threads_of(starts), CampaignProgress(console, built.campaign.budget) as progress, termination():
        people = built.oracle_for(splits, progress)
        assert isinstance(people, People)
        found = replay(
            built.learner(splits, progress),
            people,
            built.campaign,
            records,
            to,
            on_round=lambda row: console.print(f"round {row.round:3d}: the same picks and weights"),
        )
    if found.difference is not None:
        console.print(f"The replay differs in {found.difference} {other_environment(starts, environment())}".rstrip())
        return 1
    console.print(
        f"Replayed {found.rounds} rounds: {found.asked} asked points, {found.selected} labels, the same weights."
    )
    return 0


@contextmanager
def _threads_of(starts: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """Use as many threads as the last start of the run, because sums over another number round differently."""
    before = torch.get_num_threads()
    threads = recorded_threads(starts)
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
