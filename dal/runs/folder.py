"""The run folder: an append-only journal and the state for resuming.

``state.json`` is the commit: it names how many bytes of each journal count and which weights belong to them, and it is
replaced atomically. The next start truncates uncommitted data that a crash left in a journal.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from dal.errors import DalError
from dal.runs.atomic import append_text, save_tensors, truncate, write_text
from dal.runs.environment import environment
from dal.runs.journal import (
    Asked,
    Labeled,
    committed_rounds,
    committed_text,
    csv_lines,
    finite,
    read_csv,
    read_query,
    read_state,
)
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
    VALIDATION,
    scores_file,
    weights_file,
)
from dal.runs.records import Records, Weights
from dal.runs.round import PRIMARY_METRIC
from dal.runs.same_data import changed, check_same_data
from dal.runs.saved_config import Config, check_same_config, dump_config
from dal.runtime.distributed import is_rank_zero


class RunFolder(Records):
    """Records in a folder.

    The constructor creates the folder, or resumes a run of the same configuration. Raises DalError without any change
    if the folder holds another configuration (the error names the first key that differs), other files or other data,
    or if another process uses it.
    """

    def __init__(self, path: str | Path, config: Config, fingerprint: str) -> None:
        super().__init__()
        self.path, self._fingerprint = Path(path), fingerprint
        self.query_path = self.path / QUERY
        self._writes = is_rank_zero()
        self._bytes: dict[str, int] = {}
        self._scores_file: str | None = None
        self._lock = FileLock(self.path / LOCK)
        if not self._writes:
            if (self.path / STATE).exists():
                self._bytes = _fill(self, self.path, fingerprint)
            return
        if self.path.is_file():
            raise DalError(f"run_dir: {str(self.path)!r} is a file. Choose another run_dir.")
        if self.path.exists() and not (self.path / STATE).exists() and any(self._strangers()):
            strange = next(iter(self._strangers()))
            raise DalError(f"run_dir: {str(path)!r} is no run but contains {strange!r}. Choose another run_dir.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            message = f"run_dir: {str(path)!r} is in use by another process. Wait for it, or choose another run_dir."
            raise DalError(message) from None
        except OSError as error:
            message = f"run_dir: {str(path)!r} is not writable ({error.strerror}). Choose another run_dir."
            raise DalError(message) from error
        try:
            if self._is_resumed(config):
                self._bytes = _fill(self, self.path, fingerprint)
                self._scores_file = read_state(self.path).get("scores")
                self._cut_off_leftovers()
            else:
                write_text(self.path / CONFIG, dump_config(config))
                self._commit()
        except BaseException:
            self.close()
            raise
        append_text(self.path / ENVIRONMENT, json.dumps(environment()) + "\n")
        self._write_tensorboard(self.rows)

    def close(self) -> None:
        """Release the folder for other processes."""
        self._lock.release()

    def commit_validation_query(self, points: Sequence[Asked]) -> None:
        super().commit_validation_query(points)
        self._commit_pending()

    def commit_validation(self, points: Sequence[Labeled]) -> None:
        super().commit_validation(points)
        if self._writes:
            write_text(self.path / VALIDATION, csv_lines(points, header=True))
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
            save_tensors(self.path / self._scores_file, {"scores": scores})
        self._commit_pending()
        if self._writes and before is not None and before != self._scores_file:
            (self.path / before).unlink(missing_ok=True)

    def commit_selection(self, points: Sequence[Labeled]) -> None:
        first = not self.selections
        super().commit_selection(points)
        if self._writes:
            self._bytes[SELECTIONS] = append_text(self.path / SELECTIONS, csv_lines(points, header=first))
            self._commit_answers()

    def keep_weights(self, weights: Weights) -> None:
        super().keep_weights(weights)
        if self._writes:
            save_tensors(self._weights_file(len(self.rows) + 1), dict(self._kept))

    def commit_round(self, row: Mapping[str, Any]) -> None:
        super().commit_round(row)
        if not self._writes:
            return
        self._bytes[ROUNDS] = append_text(self.path / ROUNDS, json.dumps(finite(row), allow_nan=False) + "\n")
        self._commit()
        self._weights_file(len(self.rows) - 1).unlink(missing_ok=True)
        self._write_tensorboard(self.rows[-1:])

    def lightning_logger(self, round: int) -> Any:
        folder = self.path / TENSORBOARD
        if self._writes:  # logs of an interrupted training
            shutil.rmtree(folder / f"round_{round:03d}", ignore_errors=True)
        return TensorBoardLogger(save_dir=str(folder), name="", version=f"round_{round:03d}")

    def describe_data(self, facts: Mapping[str, Any]) -> None:
        """Write a description of the images.

        ``facts`` hold the class names in the order of the labels, counts, and the images set aside with the reasons.
        """
        if self._writes:
            write_text(self.path / DATA, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")

    def follow(self, metric: str) -> None:
        file = self.path / DATA
        facts = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if metric != facts.get("primary_metric", PRIMARY_METRIC):
            self.describe_data({**facts, "primary_metric": metric})

    def _is_resumed(self, config: Config) -> bool:
        """Whether the folder holds a run to resume.

        Another configuration replaces a run without a finished round, so a wrong setting is easy to correct.
        """
        if not (self.path / STATE).exists():
            return False
        state = read_state(self.path)
        try:
            check_same_config(self.path / CONFIG, config)
        except DalError:
            if state["rounds"]:
                raise
        else:
            if state["rounds"] or not changed(str(state["data"]), self._fingerprint):
                return True
        (self.path / STATE).unlink()
        for name in (SELECTIONS, VALIDATION, QUERY, ROUNDS):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / TENSORBOARD, ignore_errors=True)
        return False

    def _strangers(self) -> list[str]:
        ours = {CONFIG, DATA, LOCK, SELECTIONS, ROUNDS, VALIDATION, QUERY, ENVIRONMENT, TENSORBOARD, f".{STATE}.new"}
        return sorted(p.name for p in self.path.iterdir() if p.name not in ours and not p.name.startswith(".config"))

    def _weights_file(self, rounds: int) -> Path:
        return self.path / weights_file(rounds - 1)

    def _commit_pending(self) -> None:
        if self._writes:
            write_text(self.path / QUERY, csv_lines(self.pending, header=True))
            self._commit()

    def _commit_answers(self) -> None:
        self._commit()
        (self.path / QUERY).unlink(missing_ok=True)

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
        }
        write_text(self.path / STATE, json.dumps(state, indent=1) + "\n")

    def _cut_off_leftovers(self) -> None:
        for name in (ROUNDS, SELECTIONS):
            truncate(self.path / name, self._bytes.get(name, 0))
        if not self.pending:
            (self.path / QUERY).unlink(missing_ok=True)
        for stray in self.path.glob(ANY_WEIGHTS):
            if stray != self._weights_file(len(self.rows)):
                stray.unlink()
        for stray in self.path.glob(ANY_SCORES):
            if stray.name != self._scores_file:
                stray.unlink()

    def _write_tensorboard(self, rows: Sequence[Mapping[str, Any]]) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        folder = self.path / TENSORBOARD / "campaign"
        if len(rows) == len(self.rows):
            shutil.rmtree(folder, ignore_errors=True)
        if not rows:
            return
        writer = SummaryWriter(str(folder))
        for row in rows:
            for key, value in row.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    writer.add_scalar(key, value, row["num_labeled"])
        writer.close()


def read_run_folder(path: Path, fingerprint: str) -> Records:
    """Return the records in a folder without locking or writing.

    The labels of the data may have changed. Raises DalError if there are no records.
    """
    if not (path / STATE).exists():
        raise DalError(f"run: expected a run folder, got {str(path)!r}, which has no {STATE}.")
    records = Records()
    _fill(records, path, fingerprint, labels=False)
    return records


def _fill(records: Records, folder: Path, fingerprint: str, labels: bool = True) -> dict[str, int]:
    """Load the committed records, and return the committed bytes of each journal."""
    state = read_state(folder)
    check_same_data(folder, str(state["data"]), fingerprint, labels)
    committed: dict[str, int] = state["bytes"]
    records.stage, records.costs = state["stage"], state["costs"]
    if state.get("scores"):
        records.scores = torch.load(folder / state["scores"], map_location="cpu", weights_only=True)["scores"]
    records.rows = committed_rounds(folder, committed)
    records.selections = read_csv(committed_text(folder, SELECTIONS, committed))
    if state.get("pending"):
        records.pending = read_query(folder, state["pending"])
    if state["num_validation"]:
        records.validation = read_csv((folder / VALIDATION).read_text(encoding="utf-8"))
    if records.rows:
        file = folder / weights_file(len(records.rows) - 1)
        records.weights = torch.load(file, map_location="cpu", weights_only=True)
    return committed
