"""Stores a run in a folder, and resumes it.

The journals are append-only. ``state.json`` is the commit. It records the committed size of each journal in bytes and
the corresponding weights, and it is replaced atomically. The next start truncates uncommitted data that a crash left in
a journal.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor

from dal.errors import DalError
from dal.runs.environment import environment
from dal.runs.files.atomic import append_text, save_tensors, truncate, write_text
from dal.runs.files.committed import check_contents, check_file, hash_file, read_bytes
from dal.runs.files.same_data import changed
from dal.runs.files.state import State, read_state, write_state
from dal.runs.journal import Asked, Labeled, csv_lines, finite
from dal.runs.layout import (
    ANY_SCORES,
    ANY_WEIGHTS,
    CONFIG,
    DATA,
    ENVIRONMENT,
    LOCK,
    QUERY,
    ROUNDS,
    SELECTIONS,
    STATE,
    TENSORBOARD,
    UNCOMMITTED,
    VALIDATION,
    scores_file,
    weights_file,
)
from dal.runs.records import Records, Weights
from dal.runs.restored import restore
from dal.runs.round import PRIMARY_METRIC
from dal.runs.saved_config import Config, check_same_config, dump_config
from dal.runtime.distributed import is_rank_zero
from dal.runtime.refusals import explained, refusal


class RunFolder(Records):
    """Records in a folder.

    The constructor creates the folder, or resumes a run with the same configuration. Raises DalError without any change
    if the folder has another configuration (the error names the first key that differs), other files or other data, or
    if it is in use by another process.
    """

    def __init__(self, path: str | Path, config: Config, fingerprint: str) -> None:
        super().__init__()
        self.path: Path = Path(path)
        self._fingerprint = fingerprint
        self.query_path = self.path / QUERY
        self._writes = is_rank_zero()
        self._bytes: dict[str, int] = {}
        self._journals = {ROUNDS: hashlib.sha256(), SELECTIONS: hashlib.sha256()}
        self._digests: dict[str, str] = {}  # of the other committed files
        self._metric: str | None = None
        self._scores_file: str | None = None
        self._lock = FileLock(self.path / LOCK)
        if not self._writes:
            if os.path.lexists(self.path / STATE):
                restore(self, self.path, read_state(self.path), fingerprint)
            return
        with explained("run_dir", path, "Choose another run_dir."):
            self._check_place()
        self._acquire()
        try:
            state = self._state_to_resume(config)
            if state is None:
                self._digests = {CONFIG: write_text(self.path / CONFIG, dump_config(config))}
                self._commit()
            else:
                self._resume(state)
            append_text(self.path / ENVIRONMENT, json.dumps(environment()) + "\n")
            self._write_tensorboard(self.rows)
        except BaseException:
            self.close()
            raise

    def _check_place(self) -> None:
        if self.path.is_file():
            raise DalError(f"run_dir: {str(self.path)!r} is a file. Choose another run_dir.")
        if not self.path.exists():
            return
        if not os.path.lexists(self.path / STATE) and any(self._strangers()):
            strange = next(iter(self._strangers()))
            raise DalError(f"run_dir: {str(self.path)!r} is not a run folder but contains {strange!r}. Choose another.")
        check_contents(self.path)

    def _acquire(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            message = (
                f"run_dir: {str(self.path)!r} is in use by another process. Wait for it, or choose another run_dir."
            )
            raise DalError(message) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE):
                raise refusal(error, "run_dir", self.path) from error
            message = f"run_dir: {str(self.path)!r} is not writable ({error.strerror}). Choose another run_dir."
            raise DalError(message) from error

    def close(self) -> None:
        """Release the folder for other processes."""
        self._lock.release()

    def commit_validation_query(self, points: Sequence[Asked]) -> None:
        super().commit_validation_query(points)
        self._commit_pending()

    def commit_validation(self, points: Sequence[Labeled]) -> None:
        super().commit_validation(points)
        if self._writes:
            self._digests[VALIDATION] = write_text(self.path / VALIDATION, csv_lines(points, header=True))
            self._commit_answers()

    def commit_query(
        self,
        points: Sequence[Asked],
        costs: Mapping[str, Any],
        scores: Tensor | None = None,
    ) -> None:
        super().commit_query(points, costs, scores)
        before = self._scores_file
        if self._writes and scores is not None:
            self._scores_file = scores_file(len(self.rows))
            self._digests[self._scores_file] = save_tensors(self.path / self._scores_file, {"scores": scores})
        outdated = self._writes and before is not None and before != self._scores_file
        if outdated and before is not None:
            self._digests.pop(before, None)
        self._commit_pending()
        if outdated and before is not None:
            self._remove(before)

    def commit_selection(self, points: Sequence[Labeled]) -> None:
        first = not self.selections
        super().commit_selection(points)
        if self._writes:
            self._append(SELECTIONS, csv_lines(points, header=first))
            self._commit_answers()

    def keep_weights(self, weights: Weights) -> None:
        super().keep_weights(weights)
        if self._writes:
            name = weights_file(len(self.rows))
            self._digests[name] = save_tensors(self.path / name, dict(self._kept))

    def commit_round(self, row: Mapping[str, Any]) -> None:
        super().commit_round(row)
        if not self._writes:
            return
        self._append(ROUNDS, json.dumps(finite(row), allow_nan=False) + "\n")
        if len(self.rows) > 1:
            self._digests.pop(weights_file(len(self.rows) - 2), None)
        self._commit()
        if len(self.rows) > 1:
            self._remove(weights_file(len(self.rows) - 2))
        self._write_tensorboard(self.rows[-1:])

    def training_logs(self, round: int) -> Path:
        folder = self.path / TENSORBOARD / f"round_{round:03d}"
        if self._writes:  # logs of an interrupted training
            shutil.rmtree(folder, ignore_errors=True)
        return folder

    def describe_data(self, facts: Mapping[str, Any]) -> None:
        """Write a description of the images.

        ``facts`` contain the class names in the order of the labels, counts, and the images set aside with reasons.
        """
        if self._writes:
            write_text(self.path / DATA, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")

    def follow(self, metric: str, settings: Mapping[str, Any] | None = None) -> None:
        super().follow(metric, settings)
        self._metric = metric
        facts: Any = None
        if os.path.lexists(self.path / DATA):
            with suppress(ValueError, RecursionError):  # replace a damaged file
                facts = json.loads(read_bytes(self.path, DATA))
        facts = facts if isinstance(facts, dict) else {}
        if metric != facts.get("primary_metric", PRIMARY_METRIC):
            self.describe_data({**facts, "primary_metric": metric})

    def _state_to_resume(self, config: Config) -> State | None:
        """Return the state to resume, or None to start a run.

        A run without a finished round can be replaced by one with another configuration, to correct a setting.
        """
        if not os.path.lexists(self.path / STATE):
            return None
        state = read_state(self.path)
        check_file(self.path, CONFIG, state)
        try:
            check_same_config(self.path / CONFIG, config)
        except DalError:
            if state["rounds"]:
                raise
        else:
            if state["rounds"] or not changed(str(state["data"]), self._fingerprint):
                return state
        self._discard()
        return None

    def _discard(self) -> None:
        for name in (STATE, SELECTIONS, VALIDATION, QUERY, ROUNDS):
            self._remove(name)
        shutil.rmtree(self.path / TENSORBOARD, ignore_errors=True)

    def _start_over(self) -> None:
        super()._start_over()
        if self._writes:
            self._discard()
            self._digests = {CONFIG: self._digests[CONFIG]}
            self._bytes, self._scores_file = {}, None
            self._journals = {ROUNDS: hashlib.sha256(), SELECTIONS: hashlib.sha256()}
            self._commit()

    def _resume(self, state: State) -> None:
        restore(self, self.path, state, self._fingerprint)
        self._bytes, self._scores_file = dict(state["bytes"]), state.get("scores")
        self._metric = state.get("primary_metric")
        for name, size in self._bytes.items():
            self._journals[name].update(read_bytes(self.path, name, size))
        self._digests = {name: hash_file(self.path, name) for name in self._committed_files()}
        self._cut_off_leftovers()

    def _committed_files(self) -> list[str]:
        """Return the names of the committed files other than journals."""
        found = {
            VALIDATION: bool(self.validation),
            QUERY: bool(self.pending),
            weights_file(len(self.rows) - 1): bool(self.rows),
            self._scores_file: self._scores_file is not None,
        }
        return [CONFIG, *(name for name, there in found.items() if there and name is not None)]

    def _strangers(self) -> list[str]:
        ours = {*UNCOMMITTED, f".{STATE}.new"}
        return sorted(p.name for p in self.path.iterdir() if p.name not in ours and not p.name.startswith(".config"))

    def _append(self, name: str, text: str) -> None:
        self._bytes[name] = append_text(self.path / name, text, at=self._bytes.get(name, 0))
        self._journals[name].update(text.encode())

    def _remove(self, name: str) -> None:
        with explained(path=self.path / name):
            (self.path / name).unlink(missing_ok=True)

    def _commit_pending(self) -> None:
        if self._writes:
            self._digests[QUERY] = write_text(self.path / QUERY, csv_lines(self.pending, header=True))
            self._commit()

    def _commit_answers(self) -> None:
        self._digests.pop(QUERY, None)
        self._commit()
        self._remove(QUERY)

    def _commit(self) -> None:
        state = {
            "stage": self.stage,
            "rounds": len(self.rows),
            "bytes": self._bytes,
            "costs": self.costs,
            "scores": self._scores_file,
            "pending": len(self.pending),
            "num_validation": len(self.validation),
            "data": self._fingerprint,
            "digests": self._digests | {name: self._journals[name].hexdigest() for name in self._bytes},
        }
        known = {"primary_metric": self._metric, "settings": self.settings or None}
        write_state(self.path, state | {key: value for key, value in known.items() if value is not None})

    def _cut_off_leftovers(self) -> None:
        for name in (ROUNDS, SELECTIONS):
            truncate(self.path / name, self._bytes.get(name, 0))
        if not self.pending:
            self._remove(QUERY)
        for pattern in (ANY_WEIGHTS, ANY_SCORES):
            for stray in self.path.glob(pattern):
                if stray.name not in self._digests:
                    self._remove(stray.name)

    def _write_tensorboard(self, rows: Sequence[Mapping[str, Any]]) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        folder = self.path / TENSORBOARD / "campaign"
        if len(rows) == len(self.rows):
            shutil.rmtree(folder, ignore_errors=True)
        if not rows:
            return
        with explained(path=folder):
            writer = SummaryWriter(str(folder))
            for row in rows:
                for key, value in row.items():
                    if isinstance(value, int | float) and not isinstance(value, bool):
                        writer.add_scalar(key, value, row["num_labeled"])
            writer.close()
