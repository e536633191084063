"""Kernels of `negatives`: sums of rows and columns of logits, and a band of their gradient."""

from __future__ import annotations

import triton
import triton.language as tl

from .logits import logits, without, without_named


@triton.jit
def sums(
    a, c, scale, bias, row_live, column_live, row_keys, column_keys, skip, skip_t, row_parts, column_parts,
    first_block, n_rows, n_columns, depth, diagonal, per_split,
    KEYS: tl.constexpr, RULES: tl.constexpr, MEMBERS: tl.constexpr, DIAGONAL: tl.constexpr,
    ROW_LIVE: tl.constexpr, COLUMN_LIVE: tl.constexpr, SKIP: tl.constexpr, SKIP_T: tl.constexpr,
    BOTH: tl.constexpr, SIGMOID: tl.constexpr, VOID: tl.constexpr, ACC: tl.constexpr, UPCAST: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Program (i, s): log-sum-exp of row block first_block + i over the s-th part of the columns, and of each
    of these columns over the row block.

    row_parts: [splits, n_rows]; column_parts: [row blocks of this launch, n_columns].
    """
    block, split = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    row = (first_block + block) * BLOCK_R
    r, k = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_C)
    s = tl.load(scale)
    top = tl.full((BLOCK_R,), VOID, dtype=ACC)
    total = tl.zeros((BLOCK_R,), dtype=ACC)
    start = split * per_split
    for first in range(start, tl.minimum(start + per_split, n_columns), BLOCK_C):
        z = s * logits(
            a, c, row, first, n_rows, n_columns, depth, ACC, UPCAST, PRECISION, BLOCK_R, BLOCK_C, BLOCK_D
        )
        z = without(
            z, row_live, column_live, row_keys, column_keys, row, first, n_rows, n_columns, diagonal,
            KEYS, RULES, MEMBERS, DIAGONAL, ROW_LIVE, COLUMN_LIVE, BLOCK_R, BLOCK_C,
        )  # fmt: skip
        by_row = z
        if SKIP > 0:
            by_row = without_named(z, skip, row, first, n_rows, SKIP, BLOCK_R, BLOCK_C, True)
        if SIGMOID:
            x = by_row + tl.load(bias)
            # log(1 + e^x) without overflow
            softplus = tl.maximum(x, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(x)))
            total += tl.sum(softplus, 1)
        else:
            new = tl.maximum(top, tl.max(by_row, 1))
            total = total * tl.exp(top - new) + tl.sum(tl.exp(by_row - new[:, None]), 1)
            top = new
        if BOTH:
            if SKIP_T > 0:
                z = without_named(z, skip_t, first, row, n_columns, SKIP_T, BLOCK_C, BLOCK_R, False)
            highest = tl.maximum(tl.max(z, 0), VOID)
            summed = tl.sum(tl.exp(z - highest[None, :]), 0)
            value = tl.where(summed > 0, highest + tl.log(tl.where(summed > 0, summed, 1.0)), VOID)
            tl.store(column_parts + block * n_columns + first + k, value, k < n_columns - first)
    if SIGMOID:
        value = total
    else:
        value = tl.where(total > 0, top + tl.log(tl.where(total > 0, total, 1.0)), VOID)
    tl.store(row_parts + split * n_rows + row + r, value, r < n_rows - row)


@triton.jit
def gradient_band(
    a, c, scale, bias, row_live, column_live, row_keys, column_keys, skip, skip_t, to_rows, to_columns,
    by_row, by_column, factor, band, bias_parts, first_row, last_row, n_rows, n_columns, depth, diagonal,
    KEYS: tl.constexpr, RULES: tl.constexpr, MEMBERS: tl.constexpr, DIAGONAL: tl.constexpr,
    ROW_LIVE: tl.constexpr, COLUMN_LIVE: tl.constexpr, SKIP: tl.constexpr, SKIP_T: tl.constexpr,
    BOTH: tl.constexpr, SIGMOID: tl.constexpr, ACC: tl.constexpr, UPCAST: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Program (i, j): a tile of factor G, the gradient of the logits of rows first_row .. last_row - 1, into
    band [last_row - first_row, n_columns]."""
    block, place = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    r, k = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_C)
    row, column = first_row + block * BLOCK_R, place * BLOCK_C
    row_in, column_in = r < last_row - row, k < n_columns - column
    z = tl.load(scale) * logits(
        a, c, row, column, n_rows, n_columns, depth, ACC, UPCAST, PRECISION, BLOCK_R, BLOCK_C, BLOCK_D
    )
    z = without(
        z, row_live, column_live, row_keys, column_keys, row, column, n_rows, n_columns, diagonal,
        KEYS, RULES, MEMBERS, DIAGONAL, ROW_LIVE, COLUMN_LIVE, BLOCK_R, BLOCK_C,
    )  # fmt: skip
    of_rows = z
    if SKIP > 0:
        of_rows = without_named(z, skip, row, column, n_rows, SKIP, BLOCK_R, BLOCK_C, True)
    u = tl.load(to_rows + row + r, row_in, other=0.0)
    if SIGMOID:
        # two branches: e^x may not overflow
        x = of_rows + tl.load(bias)
        e = tl.exp(-tl.abs(x))
        g = u[:, None] * tl.where(x >= 0, 1.0, e) / (1.0 + e)
        summed = tl.sum(tl.sum(g, 1), 0)
        tl.store(bias_parts + block * tl.num_programs(1) + place, summed)
    else:
        value = tl.load(by_row + row + r, row_in, other=0.0)
        g = u[:, None] * tl.exp(of_rows - value[:, None])
    if BOTH:
        if SKIP_T > 0:
            z = without_named(z, skip_t, column, row, n_columns, SKIP_T, BLOCK_C, BLOCK_R, False)
        v = tl.load(to_columns + column + k, column_in, other=0.0)
        value = tl.load(by_column + column + k, column_in, other=0.0)
        g += v[None, :] * tl.exp(z - value[None, :])
    g = g * tl.load(factor)
    at = band + (block * BLOCK_R + r).to(tl.int64)[:, None] * n_columns + column + k[None, :]
    tl.store(at, g.to(band.dtype.element_ty), row_in[:, None] & column_in[None, :])
