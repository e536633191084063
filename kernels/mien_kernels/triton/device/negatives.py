"""Kernels of `negatives`: sums of rows and columns of logits, and a block of their gradient."""

from __future__ import annotations

import triton
import triton.language as tl

from .logits import logits, without, without_named

LOG2_E: tl.constexpr = tl.constexpr(1.4426950408889634)
LN_2: tl.constexpr = tl.constexpr(0.6931471805599453)
FLOOR: tl.constexpr = tl.constexpr(2.0**-60)
SPREAD: tl.constexpr = tl.constexpr(60.0)  # in powers of two: a product of two such stays finite


@triton.jit
def sums(
    a, c, scale, bias, row_live, column_live, row_keys, column_keys, skip, skip_t, row_parts, column_parts,
    first_block, n_rows, n_columns, depth, diagonal, per_split,
    KEYS: tl.constexpr, RULES: tl.constexpr, MEMBERS: tl.constexpr, DIAGONAL: tl.constexpr,
    ROW_LIVE: tl.constexpr, COLUMN_LIVE: tl.constexpr, SKIP: tl.constexpr, SKIP_T: tl.constexpr,
    BOTH: tl.constexpr, SHARED: tl.constexpr, SIGMOID: tl.constexpr, VOID: tl.constexpr, ACC: tl.constexpr,
    UPCAST: tl.constexpr, PRECISION: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Program (i, s): log-sum-exp of row block first_block + i over the s-th part of the columns, and of each
    of these columns over the row block.

    row_parts: [splits, n_rows]; column_parts: [row blocks of this launch, n_columns]. SHARED: one exponential
    serves a row and a column; needs lists of neither.
    """
    block, split = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    row = (first_block + block) * BLOCK_R
    r, k = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_C)
    s = tl.load(scale)
    if not SIGMOID:
        s *= LOG2_E  # everything below is in powers of two
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
        at = column_parts + block * n_columns + first + k
        if SIGMOID:
            if SKIP > 0:
                z = without_named(z, skip, row, first, n_rows, SKIP, BLOCK_R, BLOCK_C, True)
            x = z + tl.load(bias)
            # log(1 + e^x) without overflow
            softplus = tl.maximum(x, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(x)))
            total += tl.sum(softplus, 1)
        elif SHARED:
            # 2^z of a column from that of the row: 2^(z - top) 2^(top - highest)
            new = tl.maximum(top, tl.max(z, 1))
            z = tl.exp2(z - new[:, None])
            total = total * tl.exp2(top - new) + tl.sum(z, 1)
            top = new
            highest = tl.max(new, 0)
            summed = tl.sum(z * tl.exp2(new - highest)[:, None], 0)
            value = (highest + tl.log2(tl.maximum(summed, FLOOR))) * LN_2
            if tl.min(summed, 0) <= FLOOR:  # rows so far apart that digits are lost: again, column by column
                z = s * logits(
                    a, c, row, first, n_rows, n_columns, depth, ACC, UPCAST, PRECISION, BLOCK_R, BLOCK_C,
                    BLOCK_D,
                )  # fmt: skip
                z = without(
                    z, row_live, column_live, row_keys, column_keys, row, first, n_rows, n_columns, diagonal,
                    KEYS, RULES, MEMBERS, DIAGONAL, ROW_LIVE, COLUMN_LIVE, BLOCK_R, BLOCK_C,
                )  # fmt: skip
                value = sum_of_columns(z, VOID)
            tl.store(at, value, k < n_columns - first)
        else:
            by_row = z
            if SKIP > 0:
                by_row = without_named(z, skip, row, first, n_rows, SKIP, BLOCK_R, BLOCK_C, True)
            new = tl.maximum(top, tl.max(by_row, 1))
            total = total * tl.exp2(top - new) + tl.sum(tl.exp2(by_row - new[:, None]), 1)
            top = new
            if BOTH:
                if SKIP_T > 0:
                    z = without_named(z, skip_t, first, row, n_columns, SKIP_T, BLOCK_C, BLOCK_R, False)
                tl.store(at, sum_of_columns(z, VOID), k < n_columns - first)
    value = total if SIGMOID else natural(top, total, VOID)
    tl.store(row_parts + split * n_rows + row + r, value, r < n_rows - row)


@triton.jit
def sum_of_columns(z, VOID: tl.constexpr):
    """Natural log-sum-exp of each column of a tile in powers of two, VOID where it is empty."""
    highest = tl.maximum(tl.max(z, 0), VOID)
    return natural(highest, tl.sum(tl.exp2(z - highest[None, :]), 0), VOID)


@triton.jit
def natural(highest, total, VOID: tl.constexpr):
    """log(2^highest x total), VOID where the total is 0."""
    return tl.where(total > 0, (highest + tl.log2(tl.where(total > 0, total, 1.0))) * LN_2, VOID)


@triton.jit
def gradient_block(
    a, c, scale, bias, row_live, column_live, row_keys, column_keys, skip, skip_t, to_rows, to_columns,
    by_row, by_column, factor, result, bias_parts, first_row, last_row, first_column, last_column, n_rows,
    n_columns, depth, diagonal,
    KEYS: tl.constexpr, RULES: tl.constexpr, MEMBERS: tl.constexpr, DIAGONAL: tl.constexpr,
    ROW_LIVE: tl.constexpr, COLUMN_LIVE: tl.constexpr, SKIP: tl.constexpr, SKIP_T: tl.constexpr,
    BOTH: tl.constexpr, SHARED: tl.constexpr, SIGMOID: tl.constexpr, ACC: tl.constexpr, UPCAST: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Program (i, j): a tile of factor G, the gradient of the logits of rows first_row .. last_row - 1 and
    columns first_column .. last_column - 1, into result of their shape, which has less than 2^31 entries."""
    block, place = tl.program_id(0), tl.program_id(1)
    r, k = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_C)
    row = first_row + (block * BLOCK_R).to(tl.int64)
    column = first_column + (place * BLOCK_C).to(tl.int64)
    row_in, column_in = r < last_row - row, k < last_column - column
    s = tl.load(scale)
    if not SIGMOID:
        s *= LOG2_E
    z = s * logits(
        a, c, row, column, n_rows, n_columns, depth, ACC, UPCAST, PRECISION, BLOCK_R, BLOCK_C, BLOCK_D
    )
    z = without(
        z, row_live, column_live, row_keys, column_keys, row, column, n_rows, n_columns, diagonal,
        KEYS, RULES, MEMBERS, DIAGONAL, ROW_LIVE, COLUMN_LIVE, BLOCK_R, BLOCK_C,
    )  # fmt: skip
    of_rows = z
    if SKIP > 0:
        of_rows = without_named(z, skip, row, column, n_rows, SKIP, BLOCK_R, BLOCK_C, True)
    power = tl.load(factor)
    u = tl.load(to_rows + row + r, row_in, other=0.0) * power
    if SIGMOID:
        # two branches: e^x may not overflow
        x = of_rows + tl.load(bias)
        e = tl.exp(-tl.abs(x))
        g = u[:, None] * tl.where(x >= 0, 1.0, e) / (1.0 + e)
        summed = tl.sum(tl.sum(g, 1), 0)
        tl.store(bias_parts + block * tl.num_programs(1) + place, summed)
    else:
        value = tl.load(by_row + row + r, row_in, other=0.0) * LOG2_E
        if BOTH:
            v = tl.load(to_columns + column + k, column_in, other=0.0) * power
            value_t = tl.load(by_column + column + k, column_in, other=0.0) * LOG2_E
            if SKIP_T > 0:
                z = without_named(z, skip_t, column, row, n_columns, SKIP_T, BLOCK_C, BLOCK_R, False)
            # 2^(z - column) = 2^(z - row) 2^(row - middle) 2^(middle - column)
            middle = tl.max(value, 0)
            down, across = value - middle, middle - value_t
            near = (tl.min(down, 0) > -SPREAD) & (tl.max(tl.abs(across), 0) < SPREAD)
            if SHARED & near:
                both = u[:, None] + tl.exp2(down)[:, None] * (v * tl.exp2(across))[None, :]
                g = tl.exp2(of_rows - value[:, None]) * both
            else:
                g = u[:, None] * tl.exp2(of_rows - value[:, None])
                g += v[None, :] * tl.exp2(z - value_t[None, :])
        else:
            g = u[:, None] * tl.exp2(of_rows - value[:, None])
    at = (block * BLOCK_R + r)[:, None] * (last_column - first_column) + (place * BLOCK_C + k)[None, :]
    tl.store(result + at, g.to(result.dtype.element_ty), row_in[:, None] & column_in[None, :])
