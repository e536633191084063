"""The three products of patch grouping as kernels (see `mien_kernels.grouping`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .tiles import interpreted

_PATCHES, _DEPTH = 64, 64


def dots(patches: Tensor, vectors: Tensor, owner: Tensor) -> Tensor:
    """Products of each vector [T, D] with the patches [B, P, D] of its owner, [T, P]."""
    exact = torch.promote_types(torch.promote_types(patches.dtype, vectors.dtype), torch.float32)
    count, depth = patches.shape[1:]
    result = torch.empty(len(owner), count, dtype=exact, device=patches.device)
    if result.numel():
        high, wide = _blocks(count, depth)
        grid = (len(owner), triton.cdiv(count, high))
        _dots[grid](
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
        _pool[grid](
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
        _spread[grid](
            *(x.contiguous() for x in (weight, vector, weight_2, vector_2)), order, ends, result, patches,
            depth, ACC=_acc(weight.dtype), BLOCK_P=high, BLOCK_D=wide,
        )  # fmt: skip
    return result


@triton.jit
def _dots(
    patches, vectors, owner, result, count, depth, ACC: tl.constexpr, BLOCK_P: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    sentence = tl.program_id(0).to(tl.int64)
    p = tl.program_id(1) * BLOCK_P + tl.arange(0, BLOCK_P)
    image = tl.load(owner + sentence)
    total = tl.zeros((BLOCK_P,), dtype=ACC)
    for first in range(0, depth, BLOCK_D):
        d = first + tl.arange(0, BLOCK_D)
        inside = (p < count)[:, None] & (d < depth)[None, :]
        own = tl.load(patches + (image * count + p)[:, None] * depth + d[None, :], inside, other=0.0).to(ACC)
        vector = tl.load(vectors + sentence * depth + d, d < depth, other=0.0).to(ACC)
        total += tl.sum(own * vector[None, :], 1)
    tl.store(result + sentence * count + p, total, p < count)


@triton.jit
def _pool(
    patches, weight, owner, result, count, depth, ACC: tl.constexpr, BLOCK_P: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    sentence = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    image = tl.load(owner + sentence)
    total = tl.zeros((BLOCK_D,), dtype=ACC)
    for first in range(0, count, BLOCK_P):
        p = first + tl.arange(0, BLOCK_P)
        inside = (p < count)[:, None] & (d < depth)[None, :]
        own = tl.load(patches + (image * count + p)[:, None] * depth + d[None, :], inside, other=0.0).to(ACC)
        share = tl.load(weight + sentence * count + p, p < count, other=0.0)
        total += tl.sum(own * share[:, None], 0)
    tl.store(result + sentence * depth + d, total, d < depth)


@triton.jit
def _spread(
    weight, vector, weight_2, vector_2, order, ends, result, count, depth, ACC: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(0).to(tl.int64)
    p = tl.program_id(1) * BLOCK_P + tl.arange(0, BLOCK_P)
    d = tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_D)
    first = tl.load(ends + image - 1, image > 0, other=0)
    total = tl.zeros((BLOCK_P, BLOCK_D), dtype=ACC)
    for place in range(first, tl.load(ends + image)):
        sentence = tl.load(order + place)
        one = tl.load(weight + sentence * count + p, p < count, other=0.0)
        two = tl.load(weight_2 + sentence * count + p, p < count, other=0.0)
        total += one[:, None] * tl.load(vector + sentence * depth + d, d < depth, other=0.0)[None, :]
        total += two[:, None] * tl.load(vector_2 + sentence * depth + d, d < depth, other=0.0)[None, :]
    inside = (p < count)[:, None] & (d < depth)[None, :]
    tl.store(result + (image * count + p)[:, None] * depth + d[None, :], total, inside)


def _blocks(count: int, depth: int) -> tuple[int, int]:
    """Patches and depth of a tile; small ones in the interpreter, so that tests see edges of several."""
    if interpreted():
        return 8, 4
    return min(_PATCHES, triton.next_power_of_2(count)), min(_DEPTH, triton.next_power_of_2(depth))


def _acc(dtype: torch.dtype) -> tl.dtype:
    return tl.float64 if dtype == torch.float64 else tl.float32
