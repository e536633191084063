"""Kernels of `negatives`: sums of rows and columns of logits, and a band of their gradient."""

from __future__ import annotations

import triton
import triton.language as tl

from .logits import left_out, logits, named


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
    rows = (first_block + block) * BLOCK_R + tl.arange(0, BLOCK_R).to(tl.int64)
    s = tl.load(scale)
    top = tl.full((BLOCK_R,), VOID, dtype=ACC)
    total = tl.zeros((BLOCK_R,), dtype=ACC)
    start = split * per_split
    for first in range(start, tl.minimum(start + per_split, n_columns), BLOCK_C):
        columns = first + tl.arange(0, BLOCK_C).to(tl.int64)
        z = s * logits(
            a, c, rows, columns, n_rows, n_columns, depth, ACC, UPCAST, PRECISION, BLOCK_R, BLOCK_C, BLOCK_D
        )
        out = left_out(
            row_live, column_live, row_keys, column_keys, rows, columns, n_rows, n_columns, diagonal,
            KEYS, RULES, MEMBERS, DIAGONAL, ROW_LIVE, COLUMN_LIVE,
        )  # fmt: skip
        row_out = out
        if SKIP > 0:
            row_out = out | named(skip, rows, columns, n_rows, first, SKIP, BLOCK_C)
        if SIGMOID:
            x = z + tl.load(bias)
            # log(1 + e^x) without overflow
            softplus = tl.maximum(x, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(x)))
            total += tl.sum(tl.where(row_out, 0.0, softplus), 1)
        else:
            by_row = tl.where(row_out, float("-inf"), z)
            new = tl.maximum(top, tl.max(by_row, 1))
            total = total * tl.exp(top - new) + tl.sum(tl.exp(by_row - new[:, None]), 1)
            top = new
        if BOTH:
            column_out = out
            if SKIP_T > 0:
                listed = named(
                    skip_t, columns, rows, n_columns, (first_block + block) * BLOCK_R, SKIP_T, BLOCK_R
                )
                column_out = out | tl.trans(listed)
            by_column = tl.where(column_out, float("-inf"), z)
            highest = tl.maximum(tl.max(by_column, 0), VOID)
            summed = tl.sum(tl.exp(by_column - highest[None, :]), 0)
            value = tl.where(summed > 0, highest + tl.log(tl.where(summed > 0, summed, 1.0)), VOID)
            tl.store(column_parts + block * n_columns + columns, value, columns < n_columns)
    if SIGMOID:
        value = total
    else:
        value = tl.where(total > 0, top + tl.log(tl.where(total > 0, total, 1.0)), VOID)
    tl.store(row_parts + split * n_rows + rows, value, rows < n_rows)


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
    within = block * BLOCK_R + tl.arange(0, BLOCK_R).to(tl.int64)
    rows = first_row + within
    live = rows < last_row
    first = place * BLOCK_C
    columns = first + tl.arange(0, BLOCK_C).to(tl.int64)
    z = tl.load(scale) * logits(
        a, c, rows, columns, n_rows, n_columns, depth, ACC, UPCAST, PRECISION, BLOCK_R, BLOCK_C, BLOCK_D
    )
    out = left_out(
        row_live, column_live, row_keys, column_keys, rows, columns, n_rows, n_columns, diagonal,
        KEYS, RULES, MEMBERS, DIAGONAL, ROW_LIVE, COLUMN_LIVE,
    )  # fmt: skip
    row_out = out
    if SKIP > 0:
        row_out = out | named(skip, rows, columns, n_rows, first, SKIP, BLOCK_C)
    u = tl.load(to_rows + rows, live, other=0.0)
    if SIGMOID:
        # two branches: e^x may not overflow
        x = z + tl.load(bias)
        e = tl.exp(-tl.abs(x))
        g = tl.where(row_out, 0.0, u[:, None] * tl.where(x >= 0, 1.0, e) / (1.0 + e))
        summed = tl.sum(tl.sum(g, 1), 0)
        tl.store(bias_parts + block * tl.num_programs(1) + place, summed)
    else:
        value = tl.load(by_row + rows, live, other=0.0)
        g = u[:, None] * tl.exp(tl.where(row_out, float("-inf"), z - value[:, None]))
    if BOTH:
        column_out = out
        if SKIP_T > 0:
            listed = named(skip_t, columns, rows, n_columns, first_row + block * BLOCK_R, SKIP_T, BLOCK_R)
            column_out = out | tl.trans(listed)
        v = tl.load(to_columns + columns, columns < n_columns, other=0.0)
        value = tl.load(by_column + columns, columns < n_columns, other=0.0)
        g += v[None, :] * tl.exp(tl.where(column_out, float("-inf"), z - value[None, :]))
    g = g * tl.load(factor)
    where = within[:, None] * n_columns + columns[None, :]
    tl.store(band + where, g.to(band.dtype.element_ty), live[:, None] & (columns < n_columns)[None, :])
