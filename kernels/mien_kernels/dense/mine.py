"""Search for positives on whole rows of similarities (EmoCapCLIP spec 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..query import Query


def search(query: Query) -> tuple[Tensor, Tensor, Tensor]:
    """Positives int32 [R, K], their weights fp32 [R, K] and the ignored int32 [R, I] of the query's rows."""
    eligible = _eligible(query)
    scores = [_scores(query, index) for index in range(len(query.guides))]
    agreement = torch.stack(scores).amin(0) if query.combine == "min" else torch.stack(scores).amax(0)
    agreement = agreement.masked_fill(~eligible, -torch.inf)
    values, indices = _top(agreement, query.k, query.threshold)
    weights = (values / query.temperature).softmax(1).masked_fill(indices < 0, 0)

    columns = eligible.shape[1]
    chosen = torch.zeros(len(indices), columns + 1, dtype=torch.bool, device=indices.device)
    chosen = chosen.scatter_(1, indices.masked_fill(indices < 0, columns), True)[:, :columns]
    near = _cosines(query, 0) if query.ignore_cosine is not None else scores[0]
    bar = query.ignore_threshold if query.ignore_cosine is None else query.ignore_cosine
    _, ignored = _top(near.masked_fill(~eligible | chosen, -torch.inf), query.ignore, bar)
    return indices.int(), weights.float(), ignored.int()


def _cosines(query: Query, index: int) -> Tensor:
    guide = query.guides[index]
    return guide.x[query.rows] @ guide.y.T


def _scores(query: Query, index: int) -> Tensor:
    guide = query.guides[index]
    return (_cosines(query, index) - guide.mean) / guide.sd.clamp(min=1e-6)


def _eligible(query: Query) -> Tensor:
    """Bool [R, N]: pairs of two usable rows that are not the same row, not tagged alike, inside one class."""
    numbers = torch.arange(len(query.usable), device=query.usable.device)
    result = query.usable[query.rows, None] & query.usable[None, :]
    result &= numbers[query.rows, None] != numbers[None, :]
    if query.tags is not None:
        result &= ~query.tags[query.rows].matches(query.tags)
    if query.within is not None:
        result &= query.within[query.rows, None] == query.within[None, :]
    return result


def _top(scores: Tensor, count: int, bar: Tensor | float) -> tuple[Tensor, Tensor]:
    """The ``count`` highest of each row that reach the bar, in falling order, ties by lower index.

    Returns values (-inf where there is none) and int64 indices (-1 where there is none), [R, count] each.
    ``max`` gives the first of equal values, which ``topk`` does not promise.
    """
    values, indices = [], []
    for _ in range(count):
        value, index = scores.max(1)
        found = (value >= bar) & (value > -torch.inf)
        values.append(value.masked_fill(~found, -torch.inf))
        indices.append(index.masked_fill(~found, -1))
        scores = scores.scatter(1, index[:, None], -torch.inf)
    if not count:
        return scores[:, :0], torch.empty(len(scores), 0, dtype=torch.int64, device=scores.device)
    return torch.stack(values, 1), torch.stack(indices, 1)
