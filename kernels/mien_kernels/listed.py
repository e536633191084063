"""Products of each row with the few columns that a list names, as a custom op (EmoCapCLIP spec 7.1, 7.4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .blocks import add_by_owner, blocks


@torch.library.custom_op(
    "mien_kernels::listed_dots", mutates_args=(), schema="(Tensor a, Tensor c, Tensor indices) -> Tensor"
)
def listed_dots(a: Tensor, c: Tensor, indices: Tensor) -> Tensor:
    """a_i . c_{indices[i, k]}, [R, P] in fp32 (fp64 if given), 0 where the index is negative.

    a: [R, D]; c: [K, D]; indices: int64 [R, P] below K. Rows that no list names are not read.
    """
    dtype = torch.promote_types(a.dtype, torch.float32)
    result = torch.zeros(indices.shape, dtype=dtype, device=a.device)
    for rows in blocks(len(a), a.shape[1]):
        left = a[rows].to(dtype)
        for place in range(indices.shape[1]):
            named = indices[rows, place]
            product = (left * c[named.clamp(min=0)].to(dtype)).sum(1)
            result[rows, place] = torch.where(named >= 0, product, 0)
    return result


@listed_dots.register_fake
def _(a: Tensor, c: Tensor, indices: Tensor) -> Tensor:
    return a.new_empty(indices.shape, dtype=torch.promote_types(a.dtype, torch.float32))


@torch.library.custom_op(
    "mien_kernels::listed_dots_backward",
    mutates_args=(),
    schema="(Tensor gradient, Tensor a, Tensor c, Tensor indices) -> (Tensor, Tensor)",
)
def listed_dots_backward(gradient: Tensor, a: Tensor, c: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a and c in their dtypes."""
    da, dc = listed_gradients(gradient, a, c, indices)
    return da.to(a.dtype), dc.to(c.dtype)


@listed_dots_backward.register_fake
def _(gradient: Tensor, a: Tensor, c: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(a), torch.empty_like(c)


def listed_gradients(gradient: Tensor, a: Tensor, c: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a [R, D] and c [K, D] in the dtype of ``gradient`` [R, P]; sums run in a fixed order, by
    column, then row."""
    dtype = gradient.dtype
    gradient = gradient.masked_fill(indices < 0, 0)
    da = torch.zeros(a.shape, dtype=dtype, device=a.device)
    for rows in blocks(len(a), a.shape[1]):
        for place in range(indices.shape[1]):
            named = indices[rows, place].clamp(min=0)
            da[rows].addcmul_(gradient[rows, place, None], c[named].to(dtype))
    return da, _to_columns(gradient, a, indices, len(c))


def _to_columns(gradient: Tensor, a: Tensor, indices: Tensor, columns: int) -> Tensor:
    """Sum of gradient[i, k] a_i over the entries that name each column, [K, D].

    Entries are sorted by column: no atomics, the same bits each time.
    """
    flat = torch.where(indices < 0, columns, indices).flatten()
    order = flat.argsort(stable=True)
    column, row = flat[order], order // indices.shape[1]
    value = gradient.flatten()[order]
    result = torch.zeros(columns + 1, a.shape[1], dtype=gradient.dtype, device=a.device)
    for part in blocks(len(order), a.shape[1]):
        add_by_owner(result, column[part], a[row[part]].to(gradient.dtype) * value[part, None])
    return result[:columns]


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
    return *listed_dots_backward(gradient, *ctx.saved_tensors), None


listed_dots.register_autograd(_backward, setup_context=_save)
