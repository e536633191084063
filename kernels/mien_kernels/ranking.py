"""Order of what a search found."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def top(scores: Tensor, count: int, bar: Tensor | float) -> tuple[Tensor, Tensor]:
    """The ``count`` highest of each row [R, N] that reach the bar, in falling order, ties by lower index.

    Returns values (-inf where there is none) and int64 indices (-1 where there is none), [R, count] each.
    ``topk`` takes any of equal values; rows where that matters, at the last place, are searched again.
    """
    found = min(count, scores.shape[1])
    if not found:
        empty = scores.new_full((len(scores), count), -torch.inf)
        return empty, torch.full_like(empty, -1, dtype=torch.int64)
    values, indices = scores.topk(min(found + 1, scores.shape[1]), 1)
    if values.shape[1] > found:
        last = values[:, found - 1]
        again = ((values[:, found] == last) & (last >= bar) & (last > -torch.inf)).nonzero()[:, 0]
        values, indices = values[:, :found].clone(), indices[:, :found].clone()
        if len(again):
            values[again], indices[again] = _one_by_one(scores[again], found)
    missing = ~((values >= bar) & (values > -torch.inf))
    values, indices = ordered(values.masked_fill(missing, -torch.inf), indices.masked_fill(missing, -1))
    pad = (0, count - found)
    return F.pad(values, pad, value=-torch.inf), F.pad(indices, pad, value=-1)


def _one_by_one(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The highest, the next and so on: ``max`` gives the first of equal values."""
    values, indices = [], []
    for _ in range(count):
        value, index = scores.max(1)
        values.append(value)
        indices.append(index)
        scores = scores.scatter(1, index[:, None], -torch.inf)
    return torch.stack(values, 1), torch.stack(indices, 1)


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
    return F.pad(kept, (0, count - kept.shape[1]), value=-1)
