"""Files of a run about trainings on its labels with one change, which `dal explain --refit` makes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dal.errors import DalError
from dal.runs.files.atomic import write_text
from dal.runs.files.committed import read_bytes, subfolder
from dal.runtime.refusals import explained

FOLDER = "refit"
UNCHANGED, WIDTH, DEPTH, ROUND, CLASS = "unchanged", "width", "depth", "without_round", "without_class"
KINDS = (UNCHANGED, WIDTH, DEPTH, ROUND, CLASS)


@dataclass(frozen=True)
class Basis:
    """What the trainings of a run share, with L labels and T test points."""

    key: str
    """A digest of the labels, the schedule, the test set and the settings of the run."""
    updates: int
    classes: Sequence[str]
    test_label: Sequence[int]
    """(T,)."""
    label: Sequence[int]
    """(L,)."""
    bought: Sequence[int]
    """(L,) rounds that bought the labels."""

    def __post_init__(self) -> None:
        if len(self.label) != len(self.bought) or not self.test_label or not self.label:
            raise ValueError("lengths differ")
        if max(*self.test_label, *self.label, -1) >= len(self.classes) or min(*self.test_label, *self.label, 0) < 0:
            raise ValueError("a class has no name")


@dataclass(frozen=True)
class Training:
    """The classes that a trained model predicts."""

    test: Sequence[int]
    """(T,)."""
    labeled: Sequence[int]
    """(L,)."""


@dataclass(frozen=True)
class Arm:
    """Trainings of the run's model with one change, by seed."""

    kind: str
    value: float
    """The factor, the number of layers, the round or the class number; 0 without a change."""
    basis: Basis
    trainings: Mapping[int, Training] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of its file, without the ending.

        >>> Arm(WIDTH, 0.5, Basis("", 1, ["a"], [0], [0], [0])).name
        'width_0.5'
        """
        return self.kind if self.kind == UNCHANGED else f"{self.kind}_{self.value:g}"


def write_arm(run: Path, arm: Arm) -> Path:
    """Replace the file of an arm, and return its path."""
    path = subfolder(run, FOLDER) / f"{arm.name}.json"
    with explained(path=path.parent):
        path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps(asdict(arm)))
    return path


def read_arm(run: Path, name: str) -> Arm | None:
    """Return the trainings in a file, or None if there is none. Raises DalError for a damaged file."""
    folder, file = subfolder(run, FOLDER), f"{name}.json"
    if not os.path.lexists(folder / file):
        return None
    data = read_bytes(folder, file)
    try:
        return _arm(json.loads(data))
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise DalError(f"refit: {str(folder / file)!r} is damaged. Delete it to start again.") from error


def read_arms(run: Path) -> list[Arm]:
    """Return the arms with the same basis as the one without a change, which comes first. Empty without it."""
    base = read_arm(run, UNCHANGED)
    if base is None:
        return []
    names = sorted(path.stem for path in subfolder(run, FOLDER).glob("*.json") if path.stem != UNCHANGED)
    others = [arm for name in names if (arm := read_arm(run, name)) is not None]
    ranked = sorted(others, key=lambda arm: (KINDS.index(arm.kind), arm.value))
    return [base, *(arm for arm in ranked if arm.basis.key == base.basis.key)]


def _arm(found: Any) -> Arm:
    basis = found["basis"]
    names = ("test_label", "label", "bought")
    shared = Basis(
        str(basis["key"]),
        int(basis["updates"]),
        [str(name) for name in basis["classes"]],
        *([int(value) for value in basis[name]] for name in names),
    )
    trainings = {}
    for seed, one in found["trainings"].items():
        training = Training([int(value) for value in one["test"]], [int(value) for value in one["labeled"]])
        if len(training.test) != len(shared.test_label) or len(training.labeled) != len(shared.label):
            raise ValueError("lengths differ")
        trainings[int(seed)] = training
    if found["kind"] not in KINDS:
        raise ValueError("unknown kind")
    return Arm(found["kind"], float(found["value"]), shared, trainings)
