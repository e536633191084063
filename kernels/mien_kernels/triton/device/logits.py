"""Parts that the kernels share: a tile of logits, and which of its pairs take no part.

A tile is named by its first row and first column, int64 scalars; inside it offsets are 32 bits wide, which
halves the registers of addresses and masks.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Inputs become ACC before arithmetic where UPCAST: the interpreter is silently wrong in bf16.


@triton.jit
def logits(
    a, c, row, column, n_rows, n_columns, depth, ACC: tl.constexpr, UPCAST: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """a c^T of BLOCK_R rows from ``row`` on and BLOCK_C columns from ``column`` on, in ACC."""
    r, k, d = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_C), tl.arange(0, BLOCK_D)
    left_at = a + row * depth + (r[:, None] * depth + d[None, :])
    right_at = c + column * depth + (k[None, :] * depth + d[:, None])
    left_in, right_in = r < n_rows - row, k < n_columns - column
    z = tl.zeros((BLOCK_R, BLOCK_C), dtype=ACC)
    for first in range(0, depth, BLOCK_D):
        deep = d < depth - first
        left = tl.load(left_at + first, left_in[:, None] & deep[None, :], other=0.0)
        right = tl.load(right_at + first, right_in[None, :] & deep[:, None], other=0.0)
        if UPCAST:
            left, right = left.to(ACC), right.to(ACC)
        z = tl.dot(left, right, z, input_precision=PRECISION, out_dtype=ACC)
    return z


@triton.jit
def without(
    z, row_live, column_live, row_keys, column_keys, row, column, n_rows, n_columns, diagonal,
    KEYS: tl.constexpr, RULES: tl.constexpr, MEMBERS: tl.constexpr, DIAGONAL: tl.constexpr,
    ROW_LIVE: tl.constexpr, COLUMN_LIVE: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """z with -inf where neither row nor column counts a pair.

    Bit rule * KEYS + key of MEMBERS says that a key belongs to a rule: keys of a rule are joined by AND,
    rules by OR; a negative key matches nothing. Each mask goes into z at once: tiles of booleans that wait
    would cost a register an entry.
    """
    r, k = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_C)
    row_in, column_in = r < n_rows - row, k < n_columns - column
    if (n_rows - row < BLOCK_R) | (n_columns - column < BLOCK_C):
        z = tl.where(row_in[:, None] & column_in[None, :], z, float("-inf"))
    if ROW_LIVE:
        live = tl.load(row_live + row + r, row_in, other=0) != 0
        z = tl.where(live[:, None], z, float("-inf"))
    if COLUMN_LIVE:
        live = tl.load(column_live + column + k, column_in, other=0) != 0
        z = tl.where(live[None, :], z, float("-inf"))
    if DIAGONAL:
        apart = row + diagonal - column
        if (apart > -BLOCK_R) & (apart < BLOCK_C):
            z = tl.where(k[None, :] == (r + apart.to(tl.int32))[:, None], float("-inf"), z)
    for rule in tl.static_range(RULES):
        same = (r >= 0)[:, None] & (k >= 0)[None, :]
        for key in tl.static_range(KEYS):
            if (MEMBERS >> (rule * KEYS + key)) & 1:
                mine = tl.load(row_keys + (row + r) * KEYS + key, row_in, other=-1)
                theirs = tl.load(column_keys + (column + k) * KEYS + key, column_in, other=-2)
                mine = tl.where(mine >= 0, mine, -1)
                theirs = tl.where(theirs >= 0, theirs, -2)
                same = same & (mine[:, None] == theirs[None, :])
        z = tl.where(same, float("-inf"), z)
    return z


@triton.jit
def without_named(
    z, lists, owner, other, n_owners, WIDTH: tl.constexpr, BLOCK_OWNERS: tl.constexpr, BLOCK: tl.constexpr,
    OWNERS_ARE_ROWS: tl.constexpr,
):  # fmt: skip
    """z with -inf at the pairs of owners from ``owner`` on and others from ``other`` on that the lists int32
    [n_owners, WIDTH] name. Most tiles hold none of the named, which costs no tile."""
    o, x = tl.arange(0, BLOCK_OWNERS), tl.arange(0, BLOCK)
    for place in range(WIDTH):
        entry = tl.load(lists + (owner + o) * WIDTH + place, o < n_owners - owner, other=-1) - other
        near = (entry >= 0) & (entry < BLOCK)
        if tl.max(near.to(tl.int32), 0) > 0:
            spot = entry.to(tl.int32)
            if OWNERS_ARE_ROWS:
                z = tl.where(spot[:, None] == x[None, :], float("-inf"), z)
            else:
                z = tl.where(x[:, None] == spot[None, :], float("-inf"), z)
    return z
