"""Search for positives, some rows at a time: never an N x N matrix (EmoCapCLIP spec 7.7)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..dense.mine import search as search_rows
from ..query import Query

_ENTRIES = {"cpu": 1 << 22, "cuda": 1 << 26}
"""Similarities of one block of rows."""


def search(query: Query) -> tuple[Tensor, Tensor, Tensor]:
    """Positives int32 [R, K], their weights fp32 [R, K] and the ignored int32 [R, I] of the query's rows."""
    columns = len(query.usable)
    start, stop, _ = query.rows.indices(columns)
    limit = _ENTRIES.get(query.usable.device.type, 1 << 22)
    high = max(1, limit // max(1, columns))
    tops = range(start, max(stop, start + 1), high)
    parts = [search_rows(replace(query, rows=slice(top, min(top + high, stop)))) for top in tops]
    positives, weights, ignored = (torch.cat(column) for column in zip(*parts))
    return positives, weights, ignored
