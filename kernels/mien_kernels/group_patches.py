"""Sentence-guided patch grouping (EmoCapCLIP spec 3, V1, after DreamLIP, arXiv 2403.17007)."""

from __future__ import annotations

import torch
from torch import Tensor

from .backends import load_backend


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
    dtype = torch.promote_types(torch.promote_types(patches.dtype, sentences.dtype), torch.float32)
    padding = owner < 0
    bar = 1 / patches.shape[1] if threshold is None else threshold
    ops = load_backend("group_patches", backend)
    with torch.autocast(patches.device.type, enabled=False):
        pooled = ops.grouped(
            patches.to(dtype), sentences.detach().to(dtype), owner.long().masked_fill(padding, 0), bar
        )
    return pooled.masked_fill(padding[:, None], 0)
