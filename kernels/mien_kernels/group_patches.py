"""Sentence-guided patch grouping (EmoCapCLIP spec 3, V1, after DreamLIP, arXiv 2403.17007)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import grouping
from .backends import choose_backend, load_backend
from .dense.group_patches import grouped
from .saved import restore, save


def group_patches(
    patches: Tensor,
    sentences: Tensor,
    owner: Tensor,
    threshold: float | None = None,
    *,
    backend: str = "auto",
) -> Tensor:
    """Pool, for each sentence, the patches of its image that the sentence speaks of: unit rows fp32 [T, D].

    patches [B, P, D] and sentences [T, D]: unit rows, any floating dtype (fp64 stays fp64). owner: int [T],
    the image of each sentence; a negative owner marks padding and gives a zero row. Similarities are scaled
    to 0..1 over the patches, those below ``threshold`` (default 1/P) dropped, the rest divided by their sum;
    if nothing is left (all patches alike) all weigh 1/P. No gradient reaches ``sentences``:
    the local loss could otherwise be met by text alone.

    Raises ValueError for shapes that do not fit and for an unknown back end.
    """
    shapes = f"patches {[*patches.shape]}, sentences {[*sentences.shape]}, owner {[*owner.shape]}"
    if patches.ndim != 3 or sentences.ndim != 2 or patches.shape[2] != sentences.shape[1]:
        raise ValueError(f"patches must be [B, P, D] and sentences [T, D], got {shapes}")
    if owner.shape != sentences.shape[:1]:
        raise ValueError(f"owner must be [T], got {shapes}")
    dtype = _exact(patches, sentences)
    padding = owner < 0
    bar = 1 / patches.shape[1] if threshold is None else threshold
    name = choose_backend(
        "group_patches", backend, device=patches.device, dtype=dtype, pairs=len(owner) * patches[0].numel()
    )
    own, text = owner.long().masked_fill(padding, 0), sentences.detach()
    with torch.autocast(patches.device.type, enabled=False):
        if name == "dense":
            pooled = grouped(patches.to(dtype), text.to(dtype), own, bar)
        else:
            pooled = torch.ops.mien_kernels.group_patches(patches, text, own, bar, name)
    return pooled.masked_fill(padding[:, None], 0)


@torch.library.custom_op(
    "mien_kernels::group_patches",
    mutates_args=(),
    schema="(Tensor patches, Tensor sentences, Tensor owner, float threshold, str backend) -> Tensor",
)
def _group(patches: Tensor, sentences: Tensor, owner: Tensor, threshold: float, backend: str) -> Tensor:
    return grouping.forward(load_backend("group_patches", backend), patches, sentences, owner, threshold)


@_group.register_fake
def _(patches: Tensor, sentences: Tensor, owner: Tensor, threshold: float, backend: str) -> Tensor:
    return sentences.new_empty(sentences.shape, dtype=_exact(patches, sentences))


@torch.library.custom_op(
    "mien_kernels::group_patches_backward",
    mutates_args=(),
    schema="(Tensor gradient, Tensor patches, Tensor sentences, Tensor owner, float threshold, str backend)"
    " -> Tensor",
)
def _group_backward(
    gradient: Tensor, patches: Tensor, sentences: Tensor, owner: Tensor, threshold: float, backend: str
) -> Tensor:
    ops = load_backend("group_patches", backend)
    return grouping.backward(ops, gradient, patches, sentences, owner, threshold).to(patches.dtype)


@_group_backward.register_fake
def _(
    gradient: Tensor, patches: Tensor, sentences: Tensor, owner: Tensor, threshold: float, backend: str
) -> Tensor:
    return torch.empty_like(patches)


def _exact(patches: Tensor, sentences: Tensor) -> torch.dtype:
    return torch.promote_types(torch.promote_types(patches.dtype, sentences.dtype), torch.float32)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    save(ctx, inputs, ())


def _backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    _, inputs = restore(ctx)
    return torch.ops.mien_kernels.group_patches_backward(gradient, *inputs), *[None] * 4


_group.register_autograd(_backward, setup_context=_save)
