"""Both directions of a contrast of pairs (a_i, b_i) in one pass over the logits (EmoCapCLIP spec 7.5).

The common case of training, CLIP's loss with dead rows and tags. Its gradient is written out because autograd
would make eight N x N arrays where three do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _Normalisers(torch.autograd.Function):
    """Row and column log-sum-exp of x y^T without the pairs ``left_out``, and its diagonal."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, left_out: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        logits = x @ y.T
        if left_out is not None:
            logits.masked_fill_(left_out, -torch.inf)
        diagonal = logits.diagonal().clone()
        row_top, column_top = logits.amax(1), logits.amax(0)
        if left_out is not None:
            row_top, column_top = _finite(row_top), _finite(column_top)
        by_row = (logits - row_top[:, None]).exp_()
        by_column = logits.sub_(column_top[None, :]).exp_()
        row_sum, column_sum = by_row.sum(1), by_column.sum(0)
        if left_out is not None:  # empty: the value is void and its gradient 0, but 0/0 must not arise
            row_sum, column_sum = row_sum + (row_sum == 0), column_sum + (column_sum == 0)
        ctx.save_for_backward(x, y, by_row, by_column, row_sum, column_sum)
        return row_top + row_sum.log(), column_top + column_sum.log(), diagonal

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, to_rows: Tensor, to_columns: Tensor, to_diagonal: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        x, y, by_row, by_column, row_sum, column_sum = ctx.saved_tensors
        to_logits = by_row * (to_rows / row_sum)[:, None]
        to_logits.addcmul_(by_column, (to_columns / column_sum)[None, :])
        to_logits.diagonal().add_(to_diagonal)
        return to_logits @ y, to_logits.T @ x, None


def paired_sum(a: Tensor, b: Tensor, scale: Tensor, weight: Tensor | None, left_out: Tensor | None) -> Tensor:
    """Sum over both directions and all rows of w_i (LSE_i - z_ii), 0-d.

    a, b: [N, D]; weight: [N]; left_out: bool [N, N], pairs outside both normalisers: the rows and columns of
    all pairs of weight 0, and no pair (i, i) of another weight.
    """
    rows, columns, diagonal = _Normalisers.apply(scale * a, b, left_out)
    losses = rows + columns - 2 * diagonal
    if weight is None:
        return losses.sum()
    dead = weight <= 0
    return (losses.masked_fill(dead, 0) * weight).sum()


def _finite(top: Tensor) -> Tensor:
    """0 for the -inf of an empty row, whose entries would become inf - inf."""
    return top.masked_fill(top == -torch.inf, 0)
