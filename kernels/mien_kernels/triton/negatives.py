"""Sums over negatives by fused kernels, and their gradients (EmoCapCLIP spec 7.2-7.5, 7.9-7.11)."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from ..backends import interpreted
from ..masks import VOID, Masks
from .device.negatives import gradient_block, sums
from .tiles import Tile, options, rule_options, tile_for

_LAUNCH = 256  # row blocks of one launch: bounds the partial sums of columns
_PROGRAMS = 1024  # programs of one launch that keep a large card busy
_BLOCK = (4096, 8192)  # rows and columns of a block of the gradient, multiples of any tile's: 64 MB in bf16


def forward(
    a: Tensor, c: Tensor, scale: Tensor, bias: Tensor | None, masks: Masks, both: bool,
    tile: Tile | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Sums of rows [R] and, if ``both``, of columns [K] (else [0]): see the op ``negatives``."""
    tile, exact = tile or tile_for(a, "sums"), scale.dtype
    rows, columns = len(a), len(c)
    blocks = triton.cdiv(rows, tile.rows)
    launch = min(_LAUNCH, blocks)
    splits = max(1, min(_PROGRAMS // launch, triton.cdiv(columns, tile.columns)))
    per_split = triton.cdiv(triton.cdiv(columns, splits), tile.columns) * tile.columns
    splits = triton.cdiv(columns, per_split)
    row_parts = a.new_empty((splits, rows), dtype=exact)
    column_parts = a.new_empty((launch if both else 0, columns), dtype=exact)
    by_column = a.new_full((columns if both else 0,), VOID, dtype=exact)
    tensors, given = _arguments(a, c, scale, bias, masks, both)
    for first in range(0, blocks, launch):
        count = min(launch, blocks - first)
        sums[count, splits](
            *tensors, row_parts, column_parts, first, rows, columns, a.shape[1], masks.diagonal or 0,
            per_split, VOID=VOID, **given, **options(tile, exact),
        )  # fmt: skip
        if both:
            by_column = torch.logaddexp(by_column, column_parts[:count].logsumexp(0))
    by_row = row_parts.sum(0) if bias is not None else row_parts.logsumexp(0)
    return by_row, by_column


def backward(
    grad_row: Tensor, grad_column: Tensor, by_row: Tensor, by_column: Tensor, a: Tensor, c: Tensor,
    scale: Tensor, bias: Tensor | None, masks: Masks, both: bool, tile: Tile | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of a, c, scale and bias, given those of the sums.

    A block of the logits' gradient at a time is written in the inputs' dtype, small enough for the cache and
    square enough for full speed of its two products with candidates and anchors, which are summed in fp32.
    """
    lists = masks.skip is not None or masks.skip_t is not None
    tile, exact = tile or tile_for(a, "listed" if lists else "gradient"), scale.dtype
    rows, columns, depth = len(a), len(c), a.shape[1]
    da, dc = torch.empty_like(a), torch.zeros(c.shape, dtype=exact, device=c.device)
    dscale, dbias = (torch.zeros((), dtype=exact, device=a.device) for _ in range(2))
    u, v = grad_row.to(exact).contiguous(), grad_column.to(exact).contiguous()
    factor = _factor(u, v, a.dtype)
    tensors, given = _arguments(a, c, scale, bias, masks, both)
    high, wide = (4 * tile.rows, 4 * tile.columns) if interpreted() else _BLOCK
    room = torch.empty(min(high, rows) * min(wide, columns), dtype=a.dtype, device=a.device)
    for first in range(0, rows, high):
        last = min(first + high, rows)
        part = torch.zeros((last - first, depth), dtype=exact, device=a.device)
        for left in range(0, columns, wide):
            right = min(left + wide, columns)
            block = room[: (last - first) * (right - left)].view(last - first, right - left)
            down, across = triton.cdiv(last - first, tile.rows), triton.cdiv(right - left, tile.columns)
            bias_parts = dbias if bias is None else dbias.new_empty(down, across)
            gradient_block[down, across](
                *tensors, u, v, by_row, by_column, factor, block, bias_parts, first, last, left, right, rows,
                columns, depth, masks.diagonal or 0, **given, **options(tile, exact),
            )  # fmt: skip
            if bias is not None:
                dbias += bias_parts.sum()
            _add_product(part, block, c[left:right])
            _add_product(dc[left:right], block.T, a[first:last])
        part /= factor
        dscale += (part * a[first:last]).sum()
        da[first:last] = part * scale
    return da, dc.mul_(scale / factor), dscale, dbias / factor


def _factor(u: Tensor, v: Tensor, dtype: torch.dtype) -> Tensor:
    """Brings the gradient of the logits to where half precision has its digits: fp16 loses what is below
    6e-8, and a batch of 32,768 has weights of 1.5e-5. A power of two: exact."""
    largest = torch.stack([x.abs().amax() for x in (u, v) if len(x)] or [u.new_zeros(())]).amax()
    if dtype.itemsize > 2:
        return torch.ones_like(largest)
    return torch.where(largest > 0, 4096 / largest, 1).log2().floor().exp2()


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left right, in the dtype of the total."""
    if left.dtype != total.dtype and left.is_cuda:
        torch.addmm(total, left, right, out_dtype=total.dtype, out=total)
    else:
        total.addmm_(left.to(total.dtype), right.to(total.dtype))


def _arguments(
    a: Tensor, c: Tensor, scale: Tensor, bias: Tensor | None, masks: Masks, both: bool
) -> tuple[list[Tensor], dict[str, Any]]:
    """Tensors that both kernels begin with (any tensor stands for one that is absent), and what is given."""
    skip, skip_t = _lists(masks.skip), _lists(masks.skip_t)
    optional = (
        bias, _bytes(masks.row_live), _bytes(masks.column_live), masks.row_keys, masks.column_keys, skip,
        skip_t,
    )  # fmt: skip
    tensors = [x.contiguous() for x in (a, c, scale)]
    tensors += [tensors[0] if x is None else x.contiguous() for x in optional]
    return tensors, {
        **rule_options(masks.row_keys, masks.rules),
        "DIAGONAL": masks.diagonal is not None,
        "ROW_LIVE": masks.row_live is not None,
        "COLUMN_LIVE": masks.column_live is not None,
        "SKIP": 0 if skip is None else skip.shape[1],
        "SKIP_T": 0 if skip_t is None else skip_t.shape[1],
        "BOTH": both,
        "SHARED": both and bias is None and skip is None and skip_t is None,
        "SIGMOID": bias is not None,
        "UPCAST": interpreted() or scale.dtype == torch.float64,
        "PRECISION": "tf32x3" if a.dtype == torch.float32 and a.is_cuda else "ieee",
    }


def _bytes(live: Tensor | None) -> Tensor | None:
    return None if live is None else live.to(torch.uint8)


def _lists(lists: Tensor | None) -> Tensor | None:
    return None if lists is None or not lists.shape[1] else lists.to(torch.int32)
