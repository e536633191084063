"""Small agreements between the ranks of a run, over the host: no device work, no device wait."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist


class Agreement:
    """Collectives over gloo; with one process they cost nothing.

    Create it on all ranks at once, after the process group.
    """

    def __init__(self) -> None:
        self.world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        self.rank = dist.get_rank() if self.world > 1 else 0
        self._group: Any = None
        if self.world > 1 and dist.get_backend() != "gloo":
            self._group = dist.new_group(backend="gloo")

    def highest(self, *values: int) -> list[int]:
        """Element-wise maximum over the ranks."""
        if self.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self._group)
        return [int(value) for value in tensor.tolist()]

    def total(self, values: list[float]) -> list[float]:
        """Element-wise sum over the ranks, in float64."""
        if self.world == 1 or not values:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, group=self._group)
        return [float(value) for value in tensor.tolist()]

    def add(self, tensor: torch.Tensor) -> None:
        """Sum of a tensor on the host over the ranks, in place."""
        if self.world > 1:
            dist.all_reduce(tensor, group=self._group)

    def gather(self, value: Any) -> list[Any]:
        """The value of every rank, in the order of ranks; for plain data only."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, value, group=self._group)
        return found

    def share(self, value: Any) -> Any:
        """Rank 0's value, on every rank; for plain data only."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._group)
        return box[0]

    def wait(self) -> None:
        """Return when every rank is here."""
        if self.world > 1:
            dist.barrier(group=self._group)
