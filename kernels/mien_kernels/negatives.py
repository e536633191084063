"""What the negatives of each row add up to: the dense part of every form, as a custom op (spec 7.2-7.6)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from .backends import load_backend
from .masks import SCHEMA, Masks
from .saved import restore, save

_TAIL = f"Tensor a, Tensor c, Tensor scale, Tensor? bias, {SCHEMA}, bool both, str backend"


@torch.library.custom_op("mien_kernels::negatives", mutates_args=(), schema=f"({_TAIL}) -> (Tensor, Tensor)")
def _negatives(a: Tensor, c: Tensor, scale: Tensor, bias: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor]:
    *packed, both, backend = rest
    ops = load_backend("negatives", backend)
    return ops.forward(a, c, scale, bias, Masks.unpack(packed), both)


@_negatives.register_fake
def _(a: Tensor, c: Tensor, scale: Tensor, bias: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor]:
    columns = c.shape[0] if rest[-2] else 0
    return scale.new_empty(a.shape[0]), scale.new_empty(columns)


@torch.library.custom_op(
    "mien_kernels::negatives_backward",
    mutates_args=(),
    schema=f"(Tensor grad_row, Tensor grad_column, Tensor by_row, Tensor by_column, {_TAIL})"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)
def _negatives_backward(
    grad_row: Tensor, grad_column: Tensor, by_row: Tensor, by_column: Tensor, a: Tensor, c: Tensor,
    scale: Tensor, bias: Tensor | None, *rest: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    *packed, both, backend = rest
    ops = load_backend("negatives", backend)
    da, dc, dscale, dbias = ops.backward(
        grad_row, grad_column, by_row, by_column, a, c, scale, bias, Masks.unpack(packed), both
    )
    return da.to(a.dtype), dc.to(c.dtype), dscale, dbias


@_negatives_backward.register_fake
def _(
    grad_row: Tensor, grad_column: Tensor, by_row: Tensor, by_column: Tensor, a: Tensor, c: Tensor,
    scale: Tensor, bias: Tensor | None, *rest: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    return torch.empty_like(a), torch.empty_like(c), torch.empty_like(scale), by_row.new_empty(())


def negatives(
    a: Tensor, c: Tensor, scale: Tensor, masks: Masks, backend: str, *, bias: Tensor | None = None,
    both: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Sums over the negatives of each row [R] and, if ``both``, of each column [K] (else [0]).

    a [R, D], c [K, D]: one floating dtype, rows that are not live zero. scale: 0-d, and its dtype is that of
    sums and results: fp32, or fp64 if an input is.
    With ``bias`` None: log-sum-exp of z = scale a c^T, ``masks.VOID`` where there is no negative. With a 0-d
    bias: the sum of log(1 + e^(z + bias)) over each row, 0 where there is none. Differentiable in a, c, scale
    and bias; saves a, c and the results only.
    """
    return torch.ops.mien_kernels.negatives(a, c, scale, bias, *masks.pack(), both, backend)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    save(ctx, inputs, output)


def _backward(ctx: Any, grad_row: Tensor, grad_column: Tensor) -> tuple[Any, ...]:
    sums, inputs = restore(ctx)
    gradients = torch.ops.mien_kernels.negatives_backward(grad_row, grad_column, *sums, *inputs)
    da, dc, dscale, dbias = gradients
    none = [None] * (len(inputs) - 4)
    return da, dc, dscale, None if inputs[3] is None else dbias, *none


_negatives.register_autograd(_backward, setup_context=_save)


@register_flop_formula(torch.ops.mien_kernels.negatives)
def _forward_flop(a_shape: Any, c_shape: Any, *rest: Any, **options: Any) -> int:
    """Two a multiply-add: R x K dot products of length D."""
    return 2 * a_shape[0] * c_shape[0] * a_shape[1]


@register_flop_formula(torch.ops.mien_kernels.negatives_backward)
def _backward_flop(
    row: Any, column: Any, by_row: Any, by_column: Any, a_shape: Any, c_shape: Any, *rest: Any, **options: Any
) -> int:
    """The logits once more, and their gradient times either side."""
    return 6 * a_shape[0] * c_shape[0] * a_shape[1]
