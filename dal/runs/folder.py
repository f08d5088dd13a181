"""Stores a run in a folder, and resumes it.

The journals are append-only. ``state.json`` is the commit. It records the committed size of each journal in bytes and
the corresponding weights, and it is replaced atomically. The next start truncates uncommitted data that a crash left in
a journal.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import Tensor

from dal.runs.asked import AskedLine, asked_lines
from dal.runs.dynamics import Arrays, features_file, is_dynamics, read_dynamics, write_dynamics
from dal.runs.environment import record_start
from dal.runs.files.atomic import ANY_TEXT, append_text, save_tensors, truncate, write_text
from dal.runs.files.committed import hash_file, is_intact, read_bytes
from dal.runs.files.points import write_points
from dal.runs.files.state import State, read_state, write_state
from dal.runs.files.tensorboard import write_scalars
from dal.runs.journal import Asked, Labeled, csv_lines, finite
from dal.runs.layout import (
    ASKED,
    CONFIG,
    DATA,
    LOCK,
    OF_ROUNDS,
    POINTS,
    QUERY,
    ROUNDS,
    SELECTIONS,
    STATE,
    TENSORBOARD,
    TEST,
    VALIDATION,
    scores_file,
    weights_file,
)
from dal.runs.place import acquire, check_place, state_to_resume
from dal.runs.records import Records, Weights
from dal.runs.restored import restore, to_restore
from dal.runs.round import PRIMARY_METRIC
from dal.runs.saved_config import Config, dump_config
from dal.runtime.distributed import is_rank_zero
from dal.runtime.refusals import explained


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
        self._journals = _new_digests()
        self._digests: dict[str, str] = {}  # of the other committed files
        self._metric: str | None = None
        self._scores_file: str | None = None
        self._lock = FileLock(self.path / LOCK)
        if not self._writes:
            if os.path.lexists(self.path / STATE):
                restore(self, self.path, read_state(self.path), fingerprint)
            return
        with explained("run_dir", path, "Choose another run_dir."):
            check_place(self.path)
            acquire(self._lock, self.path)
        try:
            state = state_to_resume(self.path, config, str(fingerprint))
            if state is None:
                if os.path.lexists(self.path / STATE):
                    self._discard()
                self._digests = write_points(self.path, fingerprint)
                self._digests[CONFIG] = write_text(self.path / CONFIG, dump_config(config))
                self._commit()
            else:
                self._resume(state)
            record_start(self.path, trains=self.stage != "done")
            self._write_tensorboard(self.rows)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the folder for other processes."""
        self._lock.release()

    def commit_test_query(self, points: Sequence[Asked]) -> None:
        super().commit_test_query(points)
        self._commit_pending()

    def commit_test(self, points: Sequence[Labeled]) -> None:
        super().commit_test(points)
        if self._writes:
            self._digests[TEST] = write_text(self.path / TEST, csv_lines(points, header=True))
            self._commit_answers()

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
        before = self._keep_scores(scores)
        self._commit_pending()
        self._remove(before)

    def commit_asked(
        self, lines: Sequence[AskedLine], answers_seq: int, costs: Mapping[str, Any], scores: Tensor | None = None
    ) -> None:
        first = not self.asked
        super().commit_asked(lines, answers_seq, costs, scores)
        if self._writes:
            before = self._keep_scores(scores)
            self._append(ASKED, asked_lines(lines, header=first))
            self._commit()
            self._remove(before)

    def commit_taken(self, points: Sequence[Labeled], answers_seq: int) -> None:
        first = not self.selections
        super().commit_taken(points, answers_seq)
        if self._writes:
            if points:
                self._append(SELECTIONS, csv_lines(points, header=first))
            self._commit()

    def _keep_scores(self, scores: Tensor | None) -> str | None:
        """Write the scores, and return the name of the file that they replace."""
        before = self._scores_file
        if self._writes and scores is not None:
            self._scores_file = scores_file(len(self.rows))
            self._digests[self._scores_file] = save_tensors(self.path / self._scores_file, {"scores": scores})
        if before is None or before == self._scores_file or not self._writes:
            return None
        self._digests.pop(before, None)
        return before

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

    def keep_dynamics(self, dynamics: Arrays, features: Arrays) -> None:
        if self._writes:
            self._digests |= write_dynamics(self.path, len(self.rows), dynamics, features)

    def previous_dynamics(self) -> tuple[Arrays, Arrays] | None:
        return read_dynamics(self.path, len(self.rows) - 1, {"digests": self._digests})

    def commit_round(self, row: Mapping[str, Any]) -> None:
        super().commit_round(row)
        if not self._writes:
            return
        self._append(ROUNDS, json.dumps(finite(row), allow_nan=False) + "\n")
        replaced = [weights_file(len(self.rows) - 2)] if len(self.rows) > 1 else []
        if features_file(len(self.rows) - 1) in self._digests:
            replaced += [features_file(round) for round in range(len(self.rows) - 1)]
        replaced = [name for name in replaced if self._digests.pop(name, None) is not None]
        self._commit()
        self._remove(*replaced)
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
        text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
        digest = hashlib.sha256(text.encode(errors=ANY_TEXT)).hexdigest()
        intact = is_intact(self.path, DATA, self._digests)
        if not self._writes or (self._digests.get(DATA) == digest and intact):
            return
        if DATA in self._digests and not intact:
            warnings.warn(
                f"run: {DATA} in {str(self.path)!r} was changed or removed. It is written again.", stacklevel=2
            )
        # Without a digest in state.json, a crash between the two writes leaves a file that is not compared.
        if self._digests.pop(DATA, None) is not None:
            self._commit()
        self._digests[DATA] = write_text(self.path / DATA, text)
        self._commit()

    def describe_missing(self, facts: Mapping[str, Any]) -> None:
        self.describe_data({**facts, **self._description()})

    def _description(self) -> dict[str, Any]:
        facts: Any = None
        if is_intact(self.path, DATA, self._digests):
            with suppress(ValueError, RecursionError):  # replace a damaged file
                facts = json.loads(read_bytes(self.path, DATA))
        return facts if isinstance(facts, dict) else {}

    def follow(self, metric: str, settings: Mapping[str, Any] | None = None) -> None:
        super().follow(metric, settings)
        self._metric = metric
        facts = self._description()
        if metric != facts.get("primary_metric", PRIMARY_METRIC):
            self.describe_data({**facts, "primary_metric": metric})

    def _discard(self) -> None:
        # The answers of people stay: they are labels of the same images.
        self._remove(STATE, SELECTIONS, VALIDATION, TEST, QUERY, ROUNDS, ASKED)
        self._remove_strays()
        shutil.rmtree(self.path / TENSORBOARD, ignore_errors=True)

    def _start_over(self) -> None:
        super()._start_over()
        if self._writes:
            self._discard()
            self._digests = {name: digest for name, digest in self._digests.items() if name in (CONFIG, DATA, POINTS)}
            self._bytes, self._scores_file = {}, None
            self._journals = _new_digests()
            self._commit()

    def _resume(self, state: State) -> None:
        restore(self, self.path, state, self._fingerprint)
        self._bytes, self._scores_file = dict(state["bytes"]), state.get("scores")
        self._metric = state.get("primary_metric")
        for name, size in self._bytes.items():
            self._journals[name].update(read_bytes(self.path, name, size))
        self._digests = {name: hash_file(self.path, name) for name in self._committed_files()}
        digests = state.get("digests", {})
        self._digests |= {name: digests[name] for name in digests if name in (DATA, POINTS) or is_dynamics(name)}
        self._cut_off_leftovers()

    def _committed_files(self) -> list[str]:
        """Return the names of the committed files other than journals."""
        found = {TEST: self.test, VALIDATION: self.validation, QUERY: self.pending}
        found |= {weights_file(len(self.rows) - 1): self.rows}
        return [CONFIG, *(name for name, there in found.items() if there), *filter(None, [self._scores_file])]

    def _append(self, name: str, text: str) -> None:
        self._bytes[name] = append_text(self.path / name, text, at=self._bytes.get(name, 0))
        self._journals[name].update(text.encode(errors=ANY_TEXT))

    def _remove(self, *names: str | None) -> None:
        for name in filter(None, names):
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
            "bytes": self._bytes,
            "scores": self._scores_file,
            "data": self._fingerprint,
            "digests": self._digests | {name: self._journals[name].hexdigest() for name in self._bytes},
        }
        metric = {} if self._metric is None else {"primary_metric": self._metric}
        write_state(self.path, to_restore(self) | state | metric)

    def _cut_off_leftovers(self) -> None:
        for name in (ROUNDS, SELECTIONS, ASKED):
            truncate(self.path / name, self._bytes.get(name, 0))
        self._remove(None if self.pending else QUERY)
        self._remove_strays()

    def _remove_strays(self) -> None:  # files of rounds that no commit names
        found = [stray.name for pattern in OF_ROUNDS for stray in self.path.glob(pattern)]
        self._remove(*(name for name in found if name not in self._digests))

    def _write_tensorboard(self, rows: Sequence[Mapping[str, Any]]) -> None:
        write_scalars(self.path / TENSORBOARD / "campaign", rows, start_over=len(rows) == len(self.rows))


def _new_digests() -> dict[str, Any]:
    return {name: hashlib.sha256() for name in (ROUNDS, SELECTIONS, ASKED)}
