"""Products of each row with the few columns that a list names, as a custom op (EmoCapCLIP spec 7.1, 7.4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .backends import load_backend


@torch.library.custom_op(
    "mien_kernels::listed_dots",
    mutates_args=(),
    schema="(Tensor a, Tensor c, Tensor indices, str backend) -> Tensor",
)
def listed_dots(a: Tensor, c: Tensor, indices: Tensor, backend: str) -> Tensor:
    """a_i . c_{indices[i, k]}, [R, P] in fp32 (fp64 if given), 0 where the index is negative.

    a: [R, D]; c: [K, D]; indices: int64 [R, P] below K; backend: ``chunked`` or ``triton``. Rows that no list
    names are not read.
    """
    result: Tensor = load_backend("listed", backend).dots(a, c, indices)
    return result


@listed_dots.register_fake
def _(a: Tensor, c: Tensor, indices: Tensor, backend: str) -> Tensor:
    return a.new_empty(indices.shape, dtype=torch.promote_types(a.dtype, torch.float32))


@torch.library.custom_op(
    "mien_kernels::listed_dots_backward",
    mutates_args=(),
    schema="(Tensor gradient, Tensor a, Tensor c, Tensor indices, str backend) -> (Tensor, Tensor)",
)
def listed_dots_backward(
    gradient: Tensor, a: Tensor, c: Tensor, indices: Tensor, backend: str
) -> tuple[Tensor, Tensor]:
    """Gradients of a and c in their dtypes."""
    da, dc = listed_gradients(gradient, a, c, indices, backend)
    return da.to(a.dtype), dc.to(c.dtype)


@listed_dots_backward.register_fake
def _(gradient: Tensor, a: Tensor, c: Tensor, indices: Tensor, backend: str) -> tuple[Tensor, Tensor]:
    return torch.empty_like(a), torch.empty_like(c)


def listed_gradients(
    gradient: Tensor, a: Tensor, c: Tensor, indices: Tensor, backend: str
) -> tuple[Tensor, Tensor]:
    """Gradients of a [R, D] and c [K, D] in the dtype of ``gradient`` [R, P]; sums run in a fixed order, by
    column, then row."""
    da, dc = load_backend("listed", backend).gradients(gradient, a, c, indices)
    return da, dc


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, str], output: Tensor) -> None:
    *tensors, ctx.backend = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
    return *listed_dots_backward(gradient, *ctx.saved_tensors, ctx.backend), None, None


listed_dots.register_autograd(_backward, setup_context=_save)
