"""The records of a run: an append-only journal in a folder, readable with pandas and jq, and the state for resuming.

``state.json`` is the commit: it names how many bytes of each journal count and which weights belong to them, and it is
replaced atomically. What a crash left behind it is cut off at the next start.
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
from dal.runs.journal import Labeled, committed_text, csv_lines, finite, read_csv
from dal.runs.saved_config import Config, check_same_config, dump_config
from dal.runtime.distributed import is_rank_zero

Weights = Mapping[str, Tensor]

ROUNDS, SELECTIONS, VALIDATION = "rounds.jsonl", "selections.csv", "validation.csv"
STATE, CONFIG, ENVIRONMENT, TENSORBOARD = "state.json", "config.yaml", "environment.jsonl", "tensorboard"
DATA = "data.json"


class Records:
    """What happened in a campaign so far, in memory. RunFolder keeps it on disk.

    ``stage`` is what comes next: ``select`` labels for the next round, ``train`` on those selected, or ``done``.
    """

    def __init__(self) -> None:
        self.stage = "select"
        self.rows: list[dict[str, Any]] = []
        self.selections: list[Labeled] = []
        self.validation: list[Labeled] = []
        self.costs: dict[str, Any] = {}
        self.scores: Tensor | None = None
        self.weights: Weights | None = None
        self._kept: Weights = {}

    def commit_validation(self, points: Sequence[Labeled]) -> None:
        """Labels bought for validation."""
        self.validation = list(points)

    def commit_selection(
        self,
        points: Sequence[Labeled],
        costs: Mapping[str, Any],
        scores: Tensor | None = None,
    ) -> None:
        """Labels bought for the next round of training, what choosing them cost, and the (N,) last scores where they
        are to be kept."""
        self.selections.extend(points)
        self.costs, self.stage = dict(costs), "train"
        self.scores = None if scores is None else scores.clone()

    def keep_weights(self, weights: Weights) -> None:
        """The weights of the round that commit_round() is about to end."""
        self._kept = {name: value.detach().to("cpu", copy=True) for name, value in weights.items()}

    def commit_round(self, row: Mapping[str, Any]) -> None:
        """A trained and tested round."""
        self.rows.append(dict(row))
        self.weights, self._kept = self._kept, {}
        self.costs = {}
        self.stage = "done" if row["campaign_stopped"] else "select"

    def lightning_logger(self, round: int) -> Any:
        """Where Lightning logs this round; None leaves that to the learner's own Trainer options."""
        return None


class RunFolder(Records):
    """Records in a folder, which is made, or resumed where it holds a run of the same configuration.

    Raises DalError, having changed nothing, where the folder holds another configuration (naming the first key that
    differs), other files, other data, or a run that another process is working on.
    """

    def __init__(self, path: str | Path, config: Config, fingerprint: str) -> None:
        super().__init__()
        self.path, self._fingerprint = Path(path), fingerprint
        self._writes = is_rank_zero()
        self._bytes: dict[str, int] = {}
        self._scores_file: str | None = None
        self._lock = FileLock(self.path / ".lock")
        if not self._writes:
            if (self.path / STATE).exists():
                self._bytes = _fill(self, self.path, fingerprint)
            return
        if self.path.is_file():
            raise DalError(f"run_dir: expected a folder, got the file {str(self.path)!r}.")
        if self.path.exists() and not (self.path / STATE).exists() and any(self._strangers()):
            strange = next(iter(self._strangers()))
            raise DalError(f"run_dir: expected an empty folder or a run, got {str(path)!r} with {strange!r} in it.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            message = f"run_dir: expected a run that nobody works on, got {str(path)!r}, held by another process."
            raise DalError(message) from None
        except OSError as error:
            message = f"run_dir: expected a folder that can be written, got {str(path)!r} ({error.strerror})."
            raise DalError(message) from error
        try:
            if self._is_resumed(config):
                self._bytes = _fill(self, self.path, fingerprint)
                self._scores_file = _state(self.path).get("scores")
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
        """Let other processes work on the folder."""
        self._lock.release()

    def commit_validation(self, points: Sequence[Labeled]) -> None:
        super().commit_validation(points)
        if self._writes:
            write_text(self.path / VALIDATION, csv_lines(points, header=True))
            self._commit()

    def commit_selection(
        self,
        points: Sequence[Labeled],
        costs: Mapping[str, Any],
        scores: Tensor | None = None,
    ) -> None:
        first = not self.selections
        super().commit_selection(points, costs, scores)
        if not self._writes:
            return
        before = self._scores_file
        if scores is not None:
            self._scores_file = f"scores_{len(self.rows):03d}.pt"
            save_tensors(self.path / self._scores_file, {"scores": scores})
        self._bytes[SELECTIONS] = append_text(self.path / SELECTIONS, csv_lines(points, header=first))
        self._commit()
        if before is not None and before != self._scores_file:
            (self.path / before).unlink(missing_ok=True)

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
        if self._writes:  # what a training that was cut off logged
            shutil.rmtree(folder / f"round_{round:03d}", ignore_errors=True)
        return TensorBoardLogger(save_dir=str(folder), name="", version=f"round_{round:03d}")

    def describe_data(self, facts: Mapping[str, Any]) -> None:
        """Write what the images are: class names in the order of the labels, counts, what was set aside and why."""
        if self._writes:
            write_text(self.path / DATA, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")

    def _is_resumed(self, config: Config) -> bool:
        """Whether the folder's run goes on. One that has not finished a round gives way to another configuration: a
        wrong setting that shows in the first round must not stand in the way of the right one."""
        if not (self.path / STATE).exists():
            return False
        state = _state(self.path)
        try:
            check_same_config(self.path / CONFIG, config)
        except DalError:
            if state["rounds"]:
                raise
        else:
            if state["rounds"] or state["data"] == self._fingerprint:
                return True
        (self.path / STATE).unlink()
        for name in (SELECTIONS, VALIDATION, ROUNDS):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / TENSORBOARD, ignore_errors=True)
        return False

    def _strangers(self) -> list[str]:
        ours = {CONFIG, DATA, ".lock", SELECTIONS, ROUNDS, VALIDATION, ENVIRONMENT, TENSORBOARD, f".{STATE}.new"}
        return sorted(p.name for p in self.path.iterdir() if p.name not in ours and not p.name.startswith(".config"))

    def _weights_file(self, rounds: int) -> Path:
        return _weights_file(self.path, rounds)

    def _commit(self) -> None:
        state = {
            "stage": self.stage,
            "rounds": len(self.rows),
            "bytes": self._bytes,
            "costs": self.costs,
            "scores": self._scores_file,
            "num_validation": len(self.validation),
            "data": self._fingerprint,
        }
        write_text(self.path / STATE, json.dumps(state, indent=1) + "\n")

    def _cut_off_leftovers(self) -> None:
        for name in (ROUNDS, SELECTIONS):
            truncate(self.path / name, self._bytes.get(name, 0))
        for stray in self.path.glob("weights_*.pt"):
            if stray != self._weights_file(len(self.rows)):
                stray.unlink()
        for stray in self.path.glob("scores_*.pt"):
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
    """The records in a folder, to look at: nothing is locked or written. Raises DalError where there are none."""
    if not (path / STATE).exists():
        raise DalError(f"run: expected the folder of a run, got {str(path)!r}, which has no {STATE}.")
    records = Records()
    _fill(records, path, fingerprint)
    return records


def _state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    return state


def _weights_file(folder: Path, rounds: int) -> Path:
    return folder / f"weights_{rounds - 1:03d}.pt"


def _fill(records: Records, folder: Path, fingerprint: str) -> dict[str, int]:
    """Load what was committed, and return how many bytes of each journal that is."""
    state = _state(folder)
    if state["data"] != fingerprint:
        raise DalError(
            f"data: expected the images that {str(folder)!r} was started with, got others (their ids or classes "
            "differ); choose another run_dir."
        )
    committed: dict[str, int] = state["bytes"]
    records.stage, records.costs = state["stage"], state["costs"]
    if state.get("scores"):
        records.scores = torch.load(folder / state["scores"], map_location="cpu", weights_only=True)["scores"]
    records.rows = [json.loads(line) for line in committed_text(folder / ROUNDS, committed).splitlines()]
    records.selections = read_csv(committed_text(folder / SELECTIONS, committed))
    if state["num_validation"]:
        records.validation = read_csv((folder / VALIDATION).read_text(encoding="utf-8"))
    if records.rows:
        file = _weights_file(folder, len(records.rows))
        records.weights = torch.load(file, map_location="cpu", weights_only=True)
    return committed
