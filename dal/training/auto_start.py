"""The automatic start: warm as long as a fresh start, tried now and then, does not validate better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

WARM = "shrink_perturb"


@dataclass(frozen=True)
class Probe:
    """Both starts tried in one round: the best validation losses, in nats."""

    round: int
    warm_loss: float
    scratch_loss: float

    @property
    def winner(self) -> str:
        return WARM if self.warm_loss <= self.scratch_loss else "scratch"


def is_probed(probes: Iterable[Probe], round: int) -> bool:
    """Whether this round tries both starts: rounds 1, 2, 4, 8 and so on, so that trying costs little in the long run.

    >>> [round for round in range(1, 9) if is_probed([Probe(r, 0, 0) for r in (1, 2, 4) if r < round], round)]
    [1, 2, 4, 8]
    """
    return round >= 2 * max((probe.round for probe in probes), default=0)


def start_between_probes(probes: Iterable[Probe]) -> str:
    """What the last probe found better; warm before the first."""
    return max(probes, key=lambda probe: probe.round, default=Probe(0, 0, 0)).winner


def probes_of(rows: Iterable[Mapping[str, Any]]) -> list[Probe]:
    """The probes in the rows of the journal."""
    return [
        Probe(row["round"], _loss(row["probe_warm_loss"]), _loss(row["probe_scratch_loss"]))
        for row in rows
        if "probe_warm_loss" in row
    ]


def _loss(written: float | None) -> float:
    """The journal has null for a loss that is not finite."""
    return math.inf if written is None else written
