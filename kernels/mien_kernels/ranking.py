"""Order of what a search found."""

from __future__ import annotations

import torch
from torch import Tensor


def ordered(values: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Sort rows [R, K] by falling value, ties by lower index; -inf, at index -1, last."""
    empty = values == -torch.inf
    by_index = torch.where(empty, torch.iinfo(indices.dtype).max, indices).argsort(dim=1, stable=True)
    values, indices = values.gather(1, by_index), indices.gather(1, by_index)
    by_value = values.argsort(dim=1, descending=True, stable=True)
    return values.gather(1, by_value), indices.gather(1, by_value)


def ignored_of(near: Tensor, positives: Tensor, count: int) -> Tensor:
    """The first ``count`` of each ordered row [R, n] that are no positives [R, K]; -1 where there is none."""
    if not near.shape[1] or not count:
        return near.new_full((len(near), count), -1)
    taken = (near[:, :, None] == positives[:, None, :]).any(2) | (near < 0)
    order = taken.to(torch.uint8).argsort(dim=1, stable=True)
    kept = near.masked_fill(taken, -1).gather(1, order)[:, :count]
    return torch.nn.functional.pad(kept, (0, count - kept.shape[1]), value=-1)
