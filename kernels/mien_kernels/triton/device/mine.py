"""Kernel of `mine`: similarities tile by tile, the best of each row in registers."""

from __future__ import annotations

import triton
import triton.language as tl

from .logits import logits, without


@triton.jit
def insert(scores, columns, values, places, SLOTS: tl.constexpr, COUNT: tl.constexpr):
    """Move into the COUNT best of each row what of a tile [rows, columns] belongs there.

    values, places: [rows, SLOTS], in no order, slots from COUNT on unused. Of equal scores the one of the
    lower column stays; columns of later tiles are higher.
    """
    slot = tl.arange(0, SLOTS)[None, :]
    far = 2147483647
    again = 1
    while again > 0:
        top = tl.max(scores, 1)
        where = tl.min(tl.where(scores == top[:, None], columns[None, :], far), 1)
        worst = tl.min(tl.where(slot < COUNT, values, float("inf")), 1)
        better = top > worst
        again = tl.max(better.to(tl.int32), 0)
        # the worst is replaced; of equal ones the last, and of empty ones (place -1) any
        ties = (values == worst[:, None]) & (slot < COUNT)
        last = tl.max(tl.where(ties, places, -2), 1)
        chosen = ties & (places == last[:, None])
        first = tl.min(tl.where(chosen, slot, SLOTS), 1)
        replaced = (slot == first[:, None]) & better[:, None]
        values = tl.where(replaced, top[:, None], values)
        places = tl.where(replaced, where[:, None], places)
        taken = (columns[None, :] == where[:, None]) & better[:, None]
        scores = tl.where(taken, float("-inf"), scores)
    return values, places


@triton.jit
def best(
    x, y, x_2, y_2, scalars, usable, keys, within, found, found_places, near, near_places, start, stop,
    total, depth, depth_2, K: tl.constexpr, NEAR: tl.constexpr, KEYS: tl.constexpr, RULES: tl.constexpr,
    MEMBERS: tl.constexpr, WITHIN: tl.constexpr, TWO: tl.constexpr, SMALLER: tl.constexpr,
    COSINE: tl.constexpr, SLOTS: tl.constexpr, NEAR_SLOTS: tl.constexpr, ACC: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Program i: rows start + i BLOCK_R and on; the K best partners by agreement, the NEAR best by the first
    similarity."""
    here = tl.program_id(0).to(tl.int64) * BLOCK_R
    row = start + here
    r, k = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_C)
    mean, scale = tl.load(scalars), tl.load(scalars + 1)
    mean_2, scale_2 = tl.load(scalars + 2), tl.load(scalars + 3)
    bar, near_bar = tl.load(scalars + 4), tl.load(scalars + 5)
    values = tl.full((BLOCK_R, SLOTS), float("-inf"), dtype=ACC)
    places = tl.full((BLOCK_R, SLOTS), -1, dtype=tl.int32)
    near_values = tl.full((BLOCK_R, NEAR_SLOTS), float("-inf"), dtype=ACC)
    near_slots = tl.full((BLOCK_R, NEAR_SLOTS), -1, dtype=tl.int32)
    for first in range(0, total, BLOCK_C):
        column = tl.cast(first, tl.int64)
        columns = first + k
        cosine = logits(
            x, y, row, column, stop, total, depth, ACC, False, PRECISION, BLOCK_R, BLOCK_C, BLOCK_D
        )
        cosine = without(
            cosine, usable, usable, keys, keys, row, column, stop, total, 0, KEYS, RULES, MEMBERS, True, True,
            True, BLOCK_R, BLOCK_C,
        )  # fmt: skip
        if WITHIN:
            mine = tl.load(within + row + r, r < stop - row, other=0)
            theirs = tl.load(within + column + k, k < total - column, other=0)
            cosine = tl.where(mine[:, None] == theirs[None, :], cosine, float("-inf"))
        score = (cosine - mean) * scale
        agreement = score
        if TWO:
            other = logits(
                x_2, y_2, row, column, stop, total, depth_2, ACC, False, PRECISION, BLOCK_R, BLOCK_C,
                BLOCK_D,
            )  # fmt: skip
            other = (other - mean_2) * scale_2
            if SMALLER:
                agreement = tl.minimum(score, other)
            else:
                agreement = tl.where(score == float("-inf"), score, tl.maximum(score, other))
        if K > 0:
            agreement = tl.where(agreement >= bar, agreement, float("-inf"))
            values, places = insert(agreement, columns, values, places, SLOTS, K)
        if NEAR > 0:
            close = cosine if COSINE else score
            close = tl.where(close >= near_bar, close, float("-inf"))
            near_values, near_slots = insert(close, columns, near_values, near_slots, NEAR_SLOTS, NEAR)
    if K > 0:
        slot = tl.arange(0, SLOTS)[None, :]
        inside = (r < stop - row)[:, None] & (slot < K)
        tl.store(found + (here + r)[:, None] * K + slot, values, inside)
        tl.store(found_places + (here + r)[:, None] * K + slot, places, inside)
    if NEAR > 0:
        slot = tl.arange(0, NEAR_SLOTS)[None, :]
        inside = (r < stop - row)[:, None] & (slot < NEAR)
        tl.store(near + (here + r)[:, None] * NEAR + slot, near_values, inside)
        tl.store(near_places + (here + r)[:, None] * NEAR + slot, near_slots, inside)
