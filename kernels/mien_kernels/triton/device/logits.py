"""Parts that the kernels share: a tile of logits, and which of its pairs take no part."""

from __future__ import annotations

import triton
import triton.language as tl

# Inputs become fp32 before arithmetic where UPCAST: the interpreter is silently wrong in bf16.


@triton.jit
def logits(
    a, c, rows, columns, n_rows, n_columns, depth, ACC: tl.constexpr, UPCAST: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """a c^T of some rows [BLOCK_R] and columns [BLOCK_C] (int64), in ACC."""
    z = tl.zeros((BLOCK_R, BLOCK_C), dtype=ACC)
    for first in range(0, depth, BLOCK_D):
        d = first + tl.arange(0, BLOCK_D)
        left = tl.load(
            a + rows[:, None] * depth + d[None, :], (rows < n_rows)[:, None] & (d < depth)[None, :], other=0.0
        )
        right = tl.load(
            c + columns[None, :] * depth + d[:, None],
            (columns < n_columns)[None, :] & (d < depth)[:, None],
            other=0.0,
        )
        if UPCAST:
            left, right = left.to(ACC), right.to(ACC)
        z = tl.dot(left, right, z, input_precision=PRECISION, out_dtype=ACC)
    return z


@triton.jit
def left_out(
    row_live, column_live, row_keys, column_keys, rows, columns, n_rows, n_columns, diagonal,
    KEYS: tl.constexpr, RULES: tl.constexpr, MEMBERS: tl.constexpr, DIAGONAL: tl.constexpr,
    ROW_LIVE: tl.constexpr, COLUMN_LIVE: tl.constexpr,
):  # fmt: skip
    """Bool [BLOCK_R, BLOCK_C]: pairs that neither rows nor columns count.

    Bit rule * KEYS + key of MEMBERS says that a key belongs to a rule: keys of a rule are joined by AND,
    rules by OR; a negative key matches nothing.
    """
    out = (rows >= n_rows)[:, None] | (columns >= n_columns)[None, :]
    if ROW_LIVE:
        out = out | (tl.load(row_live + rows, rows < n_rows, other=0) == 0)[:, None]
    if COLUMN_LIVE:
        out = out | (tl.load(column_live + columns, columns < n_columns, other=0) == 0)[None, :]
    if DIAGONAL:
        out = out | (columns[None, :] == rows[:, None] + diagonal)
    for rule in tl.static_range(RULES):
        same = (rows < n_rows)[:, None] & (columns < n_columns)[None, :]
        for key in tl.static_range(KEYS):
            if (MEMBERS >> (rule * KEYS + key)) & 1:
                mine = tl.load(row_keys + rows * KEYS + key, rows < n_rows, other=-1)
                theirs = tl.load(column_keys + columns * KEYS + key, columns < n_columns, other=-1)
                same = same & (mine[:, None] == theirs[None, :]) & (mine >= 0)[:, None]
        out = out | same
    return out


@triton.jit
def named(lists, owners, others, n_owners, first, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Bool [owners, others]: pairs that the lists int32 [n_owners, WIDTH] name.

    ``others`` are ``first`` .. first + BLOCK - 1; most tiles hold none of the named, which costs no tile.
    """
    hit = (owners < 0)[:, None] & (others < 0)[None, :]
    for place in range(WIDTH):
        entry = tl.load(lists + owners * WIDTH + place, owners < n_owners, other=-1).to(tl.int64)
        near = (entry >= first) & (entry < first + BLOCK)
        if tl.max(near.to(tl.int32), 0) > 0:
            hit = hit | (entry[:, None] == others[None, :])
    return hit
