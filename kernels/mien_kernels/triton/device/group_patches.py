"""Kernels of `group_patches`: the products of patches with sentences."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def dots(
    patches, vectors, owner, result, count, depth, ACC: tl.constexpr, BLOCK_P: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Program (t, i): products of vector t with a block of its owner's patches, into result [T, P]."""
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
def pool(
    patches, weight, owner, result, count, depth, ACC: tl.constexpr, BLOCK_P: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Program (t, i): a block of the weighted sum of sentence t's patches, into result [T, D]."""
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
def spread(
    weight, vector, weight_2, vector_2, order, ends, result, count, depth, ACC: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Program (b, i, j): a block of the sum over the sentences of image b, into result [B, P, D]; order lists
    sentences by image, ends says where each image's end."""
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
