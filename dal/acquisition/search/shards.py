"""A process's part of the pool, and its memory budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dal.acquisition.search.rows import Rows, all_rows
from dal.errors import DalError, bad_value

_BYTES_A_POINT, _BYTES_A_NUMBER, _BYTES_OF_BLOCKS = 64, 12, 2**27


@dataclass(frozen=True)
class Shard:
    """Rows ``offset`` to ``offset + size`` of a pool of ``total`` rows, the rest being with the other processes.

    A process of its own holds all: ``Shard.alone(1000)``. ``memory_budget`` is what selection may hold beside its
    inputs, in bytes; None is no limit. A process that dies within a selection leaves the others waiting for as long as
    their group allows, or until the launcher ends them.

    >>> Shard.alone(10).span
    slice(0, 10, None)
    """

    offset: int
    size: int
    total: int
    memory_budget: int | None = None
    group: Any = None  # of torch.distributed; None where this process is alone

    @classmethod
    def alone(cls, total: int, memory_budget: int | None = None) -> Shard:
        """All rows in this process."""
        return cls(0, total, total, memory_budget)

    @classmethod
    def shared(cls, total: int, memory_budget: int | None = None) -> Shard:
        """This process's contiguous part among those of ``torch.distributed``, all rows where it is not in use.

        Sizes differ by one at most; no row is held twice.
        """
        if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return cls.alone(total, memory_budget)
        rank, ranks = dist.get_rank(), dist.get_world_size()
        start, stop = (total * place // ranks for place in (rank, rank + 1))
        return cls(start, stop - start, total, memory_budget, dist.group.WORLD)

    def of(self, total: int) -> Shard:
        """The same processes over another number of rows."""
        return self.shared(total, self.memory_budget) if self.group is not None else self.alone(total)

    @property
    def span(self) -> slice:
        """The rows of the pool that are here."""
        return slice(self.offset, self.offset + self.size)

    def best(self, value: float, position: int) -> tuple[float, int]:
        """The largest value of all processes, and its position in the pool; the lowest position where values tie.

        ``position`` is the row here; one without rows gives -inf.
        """
        if self.group is None:
            return value, position
        found = self._gather(torch.tensor([value, self.offset + position], dtype=torch.float64))
        values, positions = torch.stack(found).unbind(dim=1)
        largest = values.max()
        return float(largest), int(positions[values == largest].min())

    def from_owner(self, position: int, row: Tensor | None, width: int) -> Tensor:
        """The (width,) float64 row that the process which holds ``position`` gives, on every process's CPU."""
        if self.group is None:
            assert row is not None
            return row.cpu()
        ends = [0] + [self.total * place // dist.get_world_size() for place in range(1, dist.get_world_size() + 1)]
        owner = next(place for place in range(len(ends) - 1) if ends[place] <= position < ends[place + 1])
        sent = torch.empty(width, dtype=torch.float64) if row is None else row.double()
        sent = sent.to(self._device())
        dist.broadcast(sent, src=owner)
        return sent.cpu()

    def largest(self, value: float) -> float:
        """The largest of all processes' values."""
        return value if self.group is None else max(map(float, self._gather(torch.tensor(value, dtype=torch.float64))))

    def total_of(self, values: Tensor) -> Tensor:
        """The sum over the processes of float64 tensors of one shape, in the order of the ranks."""
        return values if self.group is None else torch.stack(self._gather(values.cpu())).sum(dim=0).to(values.device)

    def gather(self, parts: Mapping[str, Rows]) -> dict[str, Tensor]:
        """The rows of all processes by name, in the order of the pool, in memory; on the CPU if others hold some."""
        here = {name: all_rows(part) for name, part in parts.items()}
        if self.group is None:
            return here
        box: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(box, {name: part.cpu() for name, part in here.items()})
        return {name: torch.cat([summary[name] for summary in box]) for name in here}

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """Where the block fails in one process it fails in all, so that none waits for one that is gone: its own error
        here, DalError with the first one's words elsewhere."""
        error: Exception | None = None
        try:
            yield
        except Exception as own:  # noqa: BLE001  it is raised again below, once the others know
            error = own
        if self.group is not None:
            # Words, as not every exception can be sent.
            said = None if error is None else f"{'' if isinstance(error, DalError) else 'another process: '}{error}"
            box: list[str | None] = [None] * dist.get_world_size()
            dist.all_gather_object(box, said)
            first = next((words for words in box if words is not None), None)
            error = error or (None if first is None else DalError(first))
        if error is not None:
            raise error

    def check_memory(self, width: int, num_centers: int) -> None:
        """Raise DalError where the budget is below what a selection among centers of ``width`` numbers must hold."""
        if self.memory_budget is not None and not isinstance(self.memory_budget, int):
            raise bad_value("memory_budget", "a number of bytes, or None", self.memory_budget)
        needed = _BYTES_OF_BLOCKS + self.size * _BYTES_A_POINT + num_centers * width * _BYTES_A_NUMBER
        if self.memory_budget is not None and self.memory_budget < needed:
            what = f"{self.size} points and {num_centers} centers of {width} numbers"
            raise bad_value("memory_budget", f"at least {needed} bytes for {what}", self.memory_budget)

    def _gather(self, value: Tensor) -> list[Tensor]:
        value = value.to(self._device())
        found = [torch.empty_like(value) for _ in range(dist.get_world_size())]
        dist.all_gather(found, value)
        return [part.cpu() for part in found]

    def _device(self) -> torch.device:
        """Where the collectives of this backend want their tensors."""
        nccl = dist.get_backend() == "nccl"
        return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")
