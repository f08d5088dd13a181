"""The part of the pool in one process, and its memory budget."""

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
    """The rows of the pool that this process holds.

    They are rows ``offset`` to ``offset + size`` of ``total``. The other processes hold the rest. A single process
    holds all rows: ``Shard.alone(1000)``. ``memory_budget`` limits the memory of a selection in addition to its inputs,
    in bytes; None means no limit. If a process dies during a selection, the others wait until their group times out or
    the launcher ends them.

    >>> Shard.alone(10).span
    slice(0, 10, None)
    """

    offset: int
    size: int
    total: int
    memory_budget: int | None = None
    group: Any = None  # of torch.distributed; None for a single process
    room: int | None = None
    """Bytes for what a selection can also compute again; None means no limit."""

    @classmethod
    def alone(cls, total: int, memory_budget: int | None = None) -> Shard:
        """Create the shard of a single process, with all rows."""
        return cls(0, total, total, memory_budget)

    @classmethod
    def shared(cls, total: int, memory_budget: int | None = None) -> Shard:
        """Create the shard of this process in ``torch.distributed``.

        Shards are contiguous and disjoint, and their sizes differ by at most one. If ``torch.distributed`` is not in
        use, the shard has all rows.
        """
        if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return cls.alone(total, memory_budget)
        rank, ranks = dist.get_rank(), dist.get_world_size()
        start, stop = (total * place // ranks for place in (rank, rank + 1))
        return cls(start, stop - start, total, memory_budget, dist.group.WORLD)

    @property
    def span(self) -> slice:
        """The rows of the pool that this process holds."""
        return slice(self.offset, self.offset + self.size)

    def best(self, value: float, position: int) -> tuple[float, int]:
        """Return the largest value of all processes and its pool position.

        Ties go to the lowest position. ``position`` is the row in this shard. A process without rows passes -inf.
        """
        if self.group is None:
            return value, position
        found = self._gather(torch.tensor([value, self.offset + position], dtype=torch.float64))
        values, positions = torch.stack(found).unbind(dim=1)
        largest = values.max()
        return float(largest), int(positions[values == largest].min())

    def from_owner(self, position: int, row: Tensor | None, width: int) -> Tensor:
        """Broadcast a row from the process that holds ``position``.

        Every process gets the (width,) float64 row on the CPU.
        """
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
        """Return the largest value of all processes."""
        return value if self.group is None else max(map(float, self._gather(torch.tensor(value, dtype=torch.float64))))

    def total_of(self, values: Tensor) -> Tensor:
        """Sum float64 tensors of one shape over processes, in rank order."""
        return values if self.group is None else torch.stack(self._gather(values.cpu())).sum(dim=0).to(values.device)

    def gather(self, parts: Mapping[str, Rows]) -> dict[str, Tensor]:
        """Return the rows of all processes by name, in pool order.

        They are in memory, and on the CPU if there are several processes.
        """
        here = {name: all_rows(part) for name, part in parts.items()}
        if self.group is None:
            return here
        box: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(box, {name: part.cpu() for name, part in here.items()})
        return {name: torch.cat([summary[name] for summary in box]) for name in here}

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """Raise an error in all processes if the block fails in one.

        Without this, the others would wait for a process that has failed. A process that fails raises its own error.
        The others raise DalError with the message of the first failed process.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as own:  # noqa: BLE001  raised again below, after the others are informed
            error = own
        if self.group is not None:
            # Sends only the message, because not every exception can be pickled.
            said = None if error is None else f"{'' if isinstance(error, DalError) else 'another process: '}{error}"
            box: list[str | None] = [None] * dist.get_world_size()
            dist.all_gather_object(box, said)
            first = next((words for words in box if words is not None), None)
            error = error or (None if first is None else DalError(first))
        if error is not None:
            raise error

    def check_memory(self, width: int, num_centers: int) -> None:
        """Raise DalError if a selection needs more than the memory budget.

        ``width`` is the size of each of its ``num_centers`` centers.
        """
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
        """Return the device of tensors for the collectives of this backend."""
        nccl = dist.get_backend() == "nccl"
        return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")
