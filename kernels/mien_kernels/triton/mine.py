"""Search for positives by a kernel that keeps each row's best in registers (EmoCapCLIP spec 4, 7.7)."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from ..backends import interpreted
from ..query import Query
from ..ranking import ignored_of, ordered
from .device.mine import best
from .tiles import options, rule_options, tile_for


def search(query: Query) -> tuple[Tensor, Tensor, Tensor]:
    """Positives int32 [R, K], their weights fp32 [R, K] and the ignored int32 [R, I] of the query's rows."""
    guide, other = query.guides[0], query.guides[-1]
    start, stop, _ = query.rows.indices(len(query.usable))
    rows, exact = max(0, stop - start), guide.x.dtype
    near_count = query.k + query.ignore if query.ignore else 0
    device = guide.x.device
    found = torch.full((rows, max(1, query.k)), -torch.inf, dtype=exact, device=device)
    near = torch.full((rows, max(1, near_count)), -torch.inf, dtype=exact, device=device)
    places = [torch.full(values.shape, -1, dtype=torch.int32, device=device) for values in (found, near)]
    if rows and (query.k or near_count):
        tile = tile_for(guide.x, "mine")
        best[triton.cdiv(rows, tile.rows),](
            *_tensors(query, exact), found, places[0], near, places[1], start, stop, len(query.usable),
            guide.x.shape[1], other.x.shape[1], K=query.k, NEAR=near_count, **_options(query, exact),
            **options(tile, exact),
        )  # fmt: skip
    values, indices = ordered(found, places[0])
    values, indices = values[:, : query.k], indices[:, : query.k]
    weights = (values / query.temperature).softmax(1).masked_fill(indices < 0, 0)
    _, closest = ordered(near, places[1])
    return indices, weights.float(), ignored_of(closest[:, :near_count], indices, query.ignore)


def _tensors(query: Query, exact: torch.dtype) -> list[Tensor]:
    guide, other = query.guides[0], query.guides[-1]
    device = guide.x.device

    def number(value: Tensor | float) -> Tensor:
        return torch.as_tensor(value, dtype=exact, device=device).reshape(1)

    # mean, 1 / sd of both, and the bars
    scalars = torch.cat(
        [number(x) for g in (guide, other) for x in (g.mean, 1 / g.sd.clamp(min=1e-6))]
        + [number(query.threshold)]
        + [number(query.ignore_threshold if query.ignore_cosine is None else query.ignore_cosine)]
    )
    usable = query.usable.to(torch.uint8).contiguous()
    keys = usable if query.tags is None else query.tags.keys.contiguous()
    within = usable if query.within is None else query.within.contiguous()
    embeddings = [x.contiguous() for x in (guide.x, guide.y, other.x, other.y)]
    return [*embeddings, scalars, usable, keys, within]


def _options(query: Query, exact: torch.dtype) -> dict[str, Any]:
    tags = query.tags
    return {
        **(rule_options(None, ()) if tags is None else rule_options(tags.keys, tags.rules)),
        "WITHIN": query.within is not None,
        "TWO": len(query.guides) == 2,
        "SMALLER": query.combine == "min",
        "COSINE": query.ignore_cosine is not None,
        "SLOTS": triton.next_power_of_2(max(1, query.k)),
        "NEAR_SLOTS": triton.next_power_of_2(max(1, query.k + query.ignore)),
        "PRECISION": "ieee" if interpreted() or exact == torch.float64 else "tf32x3",
    }
