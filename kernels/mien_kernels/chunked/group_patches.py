"""The three products of patch grouping, some sentences at a time (see `mien_kernels.grouping`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..blocks import add_by_owner, blocks


def dots(patches: Tensor, vectors: Tensor, owner: Tensor) -> Tensor:
    """Products of each vector [T, D] with the patches [B, P, D] of its owner, [T, P]."""
    dtype = _exact(patches, vectors)
    parts = blocks(len(owner), patches[0].numel())
    return torch.cat(
        [
            torch.einsum("tpd,td->tp", patches[owner[part]].to(dtype), vectors[part].to(dtype))
            for part in parts
        ]
    )


def pool(patches: Tensor, weight: Tensor, owner: Tensor) -> Tensor:
    """Sums of the owner's patches by weight [T, P], [T, D]."""
    parts = blocks(len(owner), patches[0].numel())
    return torch.cat(
        [torch.einsum("tp,tpd->td", weight[part], patches[owner[part]].to(weight.dtype)) for part in parts]
    )


def spread(pairs: Sequence[tuple[Tensor, Tensor]], owner: Tensor, count: int) -> Tensor:
    """Sums over the sentences of each image of weight [T, P] x vector [T, D], [count, P, D], in order."""
    weight, vector = pairs[0]
    result = torch.zeros(count, weight.shape[1], vector.shape[1], dtype=weight.dtype, device=weight.device)
    order = owner.argsort(stable=True)
    for part in blocks(len(owner), result[0].numel()):
        rows = order[part]
        terms = sum(weight[rows, :, None] * vector[rows, None] for weight, vector in pairs)
        add_by_owner(result, owner[rows], terms)  # type: ignore[arg-type]
    return result


def _exact(*tensors: Tensor) -> torch.dtype:
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype
