"""Products of rows with listed columns, and their gradients, as kernels (see the op ``listed_dots``)."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..backends import interpreted
from .device import listed as kernels


def dots(a: Tensor, c: Tensor, indices: Tensor) -> Tensor:
    """See the op ``listed_dots``."""
    result = torch.empty(indices.shape, dtype=torch.promote_types(a.dtype, torch.float32), device=a.device)
    depth = a.shape[1]
    if result.numel():
        kernels.dots[indices.shape](
            a.contiguous(), c.contiguous(), indices.contiguous(), result, depth, PLACES=indices.shape[1],
            ACC=_acc(result.dtype), BLOCK_D=_width(depth),
        )  # fmt: skip
    return result


def gradients(gradient: Tensor, a: Tensor, c: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a [R, D] and c [K, D] in the dtype of ``gradient`` [R, P]; sums run in a fixed order, by
    column, then row."""
    (rows, depth), columns, places = a.shape, len(c), indices.shape[1]
    gradient, indices = gradient.contiguous(), indices.contiguous()
    da, dc = (torch.zeros(x.shape, dtype=gradient.dtype, device=x.device) for x in (a, c))
    if not indices.numel() or not depth:
        return da, dc
    given = {"ACC": _acc(gradient.dtype), "BLOCK_D": _width(depth)}
    across = triton.cdiv(depth, given["BLOCK_D"])
    kernels.listed_sums[rows, across](
        c.contiguous(), gradient, indices, da, depth, PLACES=places, **given
    )  # fmt: skip
    if columns:
        named, order = indices.flatten().sort(stable=True)  # entries without a column come first
        of = torch.arange(columns, device=a.device)
        starts, stops = (torch.searchsorted(named, of, side=side) for side in ("left", "right"))
        kernels.weighted_sums[columns, across](
            a.contiguous(), gradient, order, starts, stops, dc, depth, PER=places, **given
        )  # fmt: skip
    return da, dc


def _width(depth: int) -> int:
    """Numbers of a row at a time; few in the interpreter, so that tests see edges of several."""
    return 16 if interpreted() else min(512, triton.next_power_of_2(max(1, depth)))


def _acc(dtype: torch.dtype) -> tl.dtype:
    return tl.float64 if dtype == torch.float64 else tl.float32
