"""Kernels of `listed_dots`: products of rows with listed columns, and sums of listed rows."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def dots(a, c, indices, result, depth, PLACES: tl.constexpr, ACC: tl.constexpr, BLOCK_D: tl.constexpr):
    """Program (i, k): the product of row i with the column that place k of its list names, 0 where none."""
    row, place = tl.program_id(0).to(tl.int64), tl.program_id(1)
    entry = row * PLACES + place
    column = tl.load(indices + entry)
    named = column >= 0
    total = tl.zeros((BLOCK_D,), dtype=ACC)
    for first in range(0, depth, BLOCK_D):
        d = first + tl.arange(0, BLOCK_D)
        inside = (d < depth) & named
        left = tl.load(a + row * depth + d, inside, other=0.0).to(ACC)
        total += left * tl.load(c + column * depth + d, inside, other=0.0).to(ACC)
    tl.store(result + entry, tl.sum(total, 0))


@triton.jit
def weighted_sums(
    source, weight, order, starts, stops, result, depth, PER: tl.constexpr, ACC: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Program (i, k): a block of the sum over the entries e = order[starts[i]] .. order[stops[i] - 1] of
    weight[e] x row e / PER of source, into row i of result; in order, by one summer."""
    owner = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = d < depth
    total = tl.zeros((BLOCK_D,), dtype=ACC)
    for place in range(tl.load(starts + owner), tl.load(stops + owner)):
        entry = tl.load(order + place)
        row = tl.load(source + (entry // PER) * depth + d, inside, other=0.0).to(ACC)
        total += tl.load(weight + entry) * row
    tl.store(result + owner * depth + d, total.to(result.dtype.element_ty), inside)


@triton.jit
def listed_sums(
    source, weight, indices, result, depth, PLACES: tl.constexpr, ACC: tl.constexpr, BLOCK_D: tl.constexpr
):
    """Program (i, k): a block of the sum over list i of weight x the row of source that an entry names."""
    owner = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    total = tl.zeros((BLOCK_D,), dtype=ACC)
    for place in range(PLACES):
        entry = owner * PLACES + place
        named = tl.load(indices + entry)
        inside = (d < depth) & (named >= 0)
        row = tl.load(source + named * depth + d, inside, other=0.0).to(ACC)
        total += tl.load(weight + entry) * row
    tl.store(result + owner * depth + d, total.to(result.dtype.element_ty), d < depth)
