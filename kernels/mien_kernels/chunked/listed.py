"""Products of rows with listed columns, and their gradients, in blocks of bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor

from ..blocks import add_by_owner, blocks


def dots(a: Tensor, c: Tensor, indices: Tensor) -> Tensor:
    """See the op ``listed_dots``."""
    dtype = torch.promote_types(a.dtype, torch.float32)
    result = torch.zeros(indices.shape, dtype=dtype, device=a.device)
    for rows in blocks(len(a), a.shape[1]):
        left = a[rows].to(dtype)
        for place in range(indices.shape[1]):
            named = indices[rows, place]
            product = (left * c[named.clamp(min=0)].to(dtype)).sum(1)
            result[rows, place] = torch.where(named >= 0, product, 0)
    return result


def gradients(gradient: Tensor, a: Tensor, c: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
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
