"""Sums of losses: whole matrices, or the two ops that never hold the logits (`negatives`, `listed_dots`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .dense import contrast as dense
from .forms import positives, row_losses
from .listed import listed_dots
from .masks import Masks
from .negatives import negatives
from .side import Side


def contrast_sum(a: Tensor, c: Tensor, scale: Tensor, side: Side, backend: str) -> Tensor:
    """Sum over rows of w_i l_i, 0-d: anchors [R, D] against candidates [K, D]; dead rows are zero."""
    if backend == "dense":
        return dense.contrast_sum(a.to(scale.dtype), c.to(scale.dtype), scale, side)
    indices, weights = positives(side, len(a), a.device)
    masks = Masks(**shared_masks(side), skip=skipped(side, indices), diagonal=diagonal(side))
    negative, _ = negatives(a, c, scale, masks, backend, bias=side.bias)
    return weighted(side, negative, scale * listed_dots(a, c, indices, backend), indices, weights)


def symmetric_sum(a: Tensor, b: Tensor, scale: Tensor, ab: Side, ba: Side, backend: str) -> Tensor:
    """Sum of both directions of a [N, D] against b [N, D], 0-d; each tile of logits serves both."""
    if backend == "dense":
        return dense.symmetric_sum(a.to(scale.dtype), b.to(scale.dtype), scale, ab, ba)
    if ab.form == "sigmoid":  # sums of single pairs: a direction sees the same negatives as the other
        if ab.plain and ba.plain:
            return 2 * contrast_sum(a, b, scale, ab, backend)
        return contrast_sum(a, b, scale, ab, backend) + contrast_sum(b, a, scale, ba, backend)
    there, back = positives(ab, len(a), a.device), positives(ba, len(b), a.device)
    paired = ab.plain and ba.plain
    masks = Masks(
        **shared_masks(ab), skip=None if paired else skipped(ab, there[0], True),
        skip_t=None if paired else skipped(ba, back[0], True), diagonal=diagonal(ab) if paired else None,
    )  # fmt: skip
    by_row, by_column = negatives(a, b, scale, masks, backend, both=True)
    z_ab = scale * listed_dots(a, b, there[0], backend)
    z_ba = z_ab if paired else scale * listed_dots(b, a, back[0], backend)
    return weighted(ab, by_row, z_ab, *there) + weighted(ba, by_column, z_ba, *back)


def shared_masks(side: Side) -> dict[str, Any]:
    """What the masks of both directions have in common."""
    live = None if side.row_weight is None else side.row_weight > 0
    keys: tuple[Tensor | None, Tensor | None] = (None, None)
    if side.tags is not None:
        keys = side.tags[0].keys, side.tags[1].keys
    rules = () if side.tags is None else side.tags[0].rules
    return {
        "row_live": live, "column_live": side.valid, "row_keys": keys[0], "column_keys": keys[1],
        "rules": rules,
    }  # fmt: skip


def diagonal(side: Side) -> int | None:
    """Where the positive of each row lies, for rows without lists."""
    return side.offset if side.indices is None else None


def skipped(side: Side, indices: Tensor, always: bool = False) -> Tensor | None:
    """int32 [R, L]: the positives, which are no negatives, and the ignored."""
    lists = [] if side.indices is None and not always else [indices]
    if side.ignore is not None:
        lists.append(side.ignore)
    return torch.cat(lists, 1).int() if lists else None


def weighted(side: Side, negative: Tensor, z: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """Sum of w_i l_i, 0-d; see ``row_losses``."""
    losses = row_losses(side, negative, z, indices, weights)
    if side.row_weight is None:
        return losses.sum()
    return (side.row_weight.to(losses.dtype) * losses).sum()
