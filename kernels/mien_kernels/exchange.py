"""Rows of all ranks, with exact gradients: all-gather forward, reduce-scatter *sum* backward (spec 7.8)."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _Gather(torch.autograd.Function):
    """All-gather in the dtype of the input; its gradients are summed in fp32, or in fp64."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return gather_rows(rows, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        exact = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
        return _sum_scatter(exact, ctx.group).to(gradient.dtype), None


# Newer torch warns at every process about the names that torch 2.9 has.
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


def gather(rows: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Stack the rows of all ranks, [B, ...] -> [W * B, ...] in rank order, differentiably.

    The gradient of a rank's rows is the *sum* over all ranks of the gradients that they computed for them. B
    must be the same on all ranks, and all ranks must call it, and its backward, the same number of times.
    """
    return _Gather.apply(rows, group)


@torch.no_grad()
def gather_rows(rows: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Stack the rows of all ranks, [B, ...] -> [W * B, ...] in rank order, any dtype, without a gradient."""
    rows = rows.detach().contiguous()
    wire = rows.view(torch.uint8) if rows.dtype == torch.bool else rows
    result = wire.new_empty(dist.get_world_size(group) * wire.shape[0], *wire.shape[1:])
    _all_gather(result, wire, group=group)
    return result.view(rows.dtype)


def own_rows(count: int, group: dist.ProcessGroup) -> slice:
    """Where this rank's ``count`` rows lie in what ``gather`` returns."""
    rank = dist.get_rank(group)
    return slice(rank * count, (rank + 1) * count)


def _sum_scatter(rows: Tensor, group: dist.ProcessGroup) -> Tensor:
    world = dist.get_world_size(group)
    count = rows.shape[0] // world
    if dist.get_backend(group) == "gloo":  # has no reduce-scatter in every torch that we support
        total = rows.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total[own_rows(count, group)].clone()
    result = rows.new_empty(count, *rows.shape[1:])
    _reduce_scatter(result, rows.contiguous(), group=group)
    return result
