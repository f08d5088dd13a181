"""Costs of a round by phase, and their keys in the journal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

PHASES = ("embed", "score", "select", "train", "validate", "test", "stop", "checkpoint", "diagnose")
"""Computing features once, the pass over the pool, selection, training, validation checks, testing, the pass over the
stop set, writing weights, and what the records for diagnosis add."""

_FORWARD = tuple(phase for phase in PHASES if phase not in ("select", "checkpoint"))

_ALWAYS: Mapping[str, tuple[str, ...]] = {
    "samples_forward": _FORWARD,
    "samples_backward": ("train",),
    "flops_forward": _FORWARD,
    "flops_backward": ("train",),
    "flops_draws": ("score",),
    "flops": ("select", "diagnose"),
}
"""The counts of a row, in the order of their keys, and the phases that record them even if they are 0."""


@dataclass
class Costs:
    """Costs of one phase, or the sum over several phases.

    Samples and FLOPs (see dal.costs.flops) are exact and the same on every machine. Seconds and joules are measured.
    """

    samples_forward: int = 0
    samples_backward: int = 0
    flops_forward: int = 0
    flops_backward: int = 0
    flops_draws: int = 0
    """The part of ``flops_forward`` for repeated draws."""
    flops: int = 0
    """FLOPs outside a network, such as those of a selection."""
    seconds: float = 0.0
    joules: float | None = None
    """None if nothing measures energy."""

    @property
    def total_flops(self) -> int:
        """All FLOPs; ``flops_forward`` already includes ``flops_draws``."""
        return self.flops_forward + self.flops_backward + self.flops

    def __add__(self, other: Costs) -> Costs:
        joules = [costs.joules for costs in (self, other) if costs.joules is not None]
        sums = {name: getattr(self, name) + getattr(other, name) for name in (*_ALWAYS, "seconds")}
        return Costs(**sums, joules=sum(joules) if joules else None)

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))


def total_costs(costs: Mapping[str, Costs], phases: Collection[str] | None = None) -> Costs:
    """Return the sum over these phases, or over all of them.

    >>> costs = {"train": Costs(flops_forward=4, flops_backward=8), "select": Costs(flops=1)}
    >>> total_costs(costs).total_flops, total_costs(costs, ["train"]).total_flops
    (13, 12)
    """
    chosen = (of_phase for phase, of_phase in costs.items() if phases is None or phase in phases)
    return sum(chosen, start=Costs())


def flatten_costs(costs: Mapping[str, Costs]) -> dict[str, Any]:
    """Return flat keys for the journal, such as ``flops_forward_train``.

    The row includes the counts of dal's own phases even if they are 0, and joules only if they are measured.

    >>> flatten_costs({"train": Costs(samples_backward=64)})["samples_backward_train"]
    64
    """
    nothing = Costs()
    always = [(name, phase) for name, phases in _ALWAYS.items() for phase in phases]
    row = {f"{name}_{phase}": getattr(costs.get(phase, nothing), name) for name, phase in always}
    more = [(name, phase) for name in _ALWAYS for phase in costs if getattr(costs[phase], name)]
    row |= {f"{name}_{phase}": getattr(costs[phase], name) for name, phase in more}
    phases = dict.fromkeys((*PHASES, *(phase for phase, of_phase in costs.items() if of_phase.seconds)))
    row |= {f"seconds_{phase}": round(costs.get(phase, nothing).seconds, 6) for phase in phases}
    if any(of_phase.joules is not None for of_phase in costs.values()):
        row |= {f"joules_{phase}": round(costs.get(phase, nothing).joules or 0.0, 3) for phase in phases}
    return row


def parse_costs(row: Mapping[str, Any]) -> dict[str, Costs]:
    """Invert flatten_costs(). Keys that are not costs are ignored.

    >>> parse_costs({"round": 1, "flops_forward_train": 4, "seconds_train": 0.5})["train"].total_flops
    4
    """
    # flops_forward_train is a count of flops_forward, and flops_select one of flops.
    names = sorted((field.name for field in fields(Costs)), key=len, reverse=True)
    costs: dict[str, Costs] = {}
    for key, value in row.items():
        name = next((name for name in names if key.startswith(f"{name}_")), None)
        if name is not None and value is not None:
            setattr(costs.setdefault(key.removeprefix(f"{name}_"), Costs()), name, value)
    return {phase: costs[phase] for phase in (*PHASES, *costs) if phase in costs}


def counts_flops(row: Mapping[str, Any]) -> bool:
    """Whether a row of the journal counts FLOPs.

    Rows of the first versions do not.
    """
    return any(key.startswith("flops_") for key in row)
