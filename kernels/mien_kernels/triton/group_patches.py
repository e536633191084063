"""The three products of patch grouping as kernels (see `mien_kernels.grouping`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..backends import interpreted
from .device import group_patches as kernels

_PATCHES, _DEPTH = 64, 64


def dots(patches: Tensor, vectors: Tensor, owner: Tensor) -> Tensor:
    """Products of each vector [T, D] with the patches [B, P, D] of its owner, [T, P]."""
    exact = torch.promote_types(torch.promote_types(patches.dtype, vectors.dtype), torch.float32)
    count, depth = patches.shape[1:]
    result = torch.empty(len(owner), count, dtype=exact, device=patches.device)
    if result.numel():
        high, wide = _blocks(count, depth)
        grid = (len(owner), triton.cdiv(count, high))
        kernels.dots[grid](
            patches.contiguous(), vectors.contiguous(), owner, result, count, depth, ACC=_acc(exact),
            BLOCK_P=high, BLOCK_D=wide,
        )  # fmt: skip
    return result


def pool(patches: Tensor, weight: Tensor, owner: Tensor) -> Tensor:
    """Sums of the owner's patches by weight [T, P], [T, D]."""
    count, depth = patches.shape[1:]
    result = torch.empty(len(owner), depth, dtype=weight.dtype, device=patches.device)
    if result.numel():
        high, wide = _blocks(count, depth)
        grid = (len(owner), triton.cdiv(depth, wide))
        kernels.pool[grid](
            patches.contiguous(), weight.contiguous(), owner, result, count, depth, ACC=_acc(weight.dtype),
            BLOCK_P=high, BLOCK_D=wide,
        )  # fmt: skip
    return result


def spread(pairs: Sequence[tuple[Tensor, Tensor]], owner: Tensor, count: int) -> Tensor:
    """Sums over the sentences of each image of weight [T, P] x vector [T, D], [count, P, D], in order: each
    image has one summer."""
    (weight, vector), (weight_2, vector_2) = pairs
    patches, depth = weight.shape[1], vector.shape[1]
    result = torch.empty(count, patches, depth, dtype=weight.dtype, device=weight.device)
    order = owner.argsort(stable=True)
    ends = torch.bincount(owner, minlength=count).cumsum(0)
    if result.numel():
        high, wide = _blocks(patches, depth)
        grid = (count, triton.cdiv(patches, high), triton.cdiv(depth, wide))
        kernels.spread[grid](
            *(x.contiguous() for x in (weight, vector, weight_2, vector_2)), order, ends, result, patches,
            depth, ACC=_acc(weight.dtype), BLOCK_P=high, BLOCK_D=wide,
        )  # fmt: skip
    return result


def _blocks(count: int, depth: int) -> tuple[int, int]:
    """Patches and depth of a tile; small ones in the interpreter, so that tests see edges of several."""
    if interpreted():
        return 8, 4
    return min(_PATCHES, triton.next_power_of_2(count)), min(_DEPTH, triton.next_power_of_2(depth))


def _acc(dtype: torch.dtype) -> tl.dtype:
    return tl.float64 if dtype == torch.float64 else tl.float32
