"""Search for positives on whole rows of similarities (EmoCapCLIP spec 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..query import Query
from ..ranking import ignored_of, top


def search(query: Query) -> tuple[Tensor, Tensor, Tensor]:
    """Positives int32 [R, K], their weights fp32 [R, K] and the ignored int32 [R, I] of the query's rows."""
    eligible = _eligible(query)
    scores = [_scores(query, index) for index in range(len(query.guides))]
    agreement = scores[0]
    for other in scores[1:]:
        agreement = (torch.minimum if query.combine == "min" else torch.maximum)(agreement, other)
    agreement = agreement.masked_fill(~eligible, -torch.inf)
    values, indices = top(agreement, query.k, query.threshold)
    weights = (values / query.temperature).softmax(1).masked_fill(indices < 0, 0)

    near = _cosines(query, 0) if query.ignore_cosine is not None else scores[0]
    bar = query.ignore_threshold if query.ignore_cosine is None else query.ignore_cosine
    # the K positives may be among the nearest
    count = query.k + query.ignore if query.ignore else 0
    _, nearest = top(near.masked_fill(~eligible, -torch.inf), count, bar)
    return indices.int(), weights.float(), ignored_of(nearest, indices, query.ignore).int()


def _cosines(query: Query, index: int) -> Tensor:
    guide = query.guides[index]
    return guide.x[query.rows] @ guide.y.T


def _scores(query: Query, index: int) -> Tensor:
    guide = query.guides[index]
    return _cosines(query, index).sub_(guide.mean).div_(guide.sd.clamp(min=1e-6))


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
