"""What a loss needs to know of the other ranks."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def world_group() -> dist.ProcessGroup | None:
    """The ranks that train together, None for one process."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return dist.group.WORLD
    return None


def mean_count(mine: Tensor) -> Tensor:
    """Valid samples a rank, on average over the ranks; at least a tiny number, for a batch of dead rows.

    A sum over a rank's samples divided by it has as its mean over the ranks the mean over all samples.
    """
    group, total = world_group(), mine.detach().clone()
    if group is not None:
        dist.all_reduce(total, group=group)
        total = total / dist.get_world_size(group)
    return total.clamp(min=1e-6)
