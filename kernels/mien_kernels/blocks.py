"""Parts of bounded memory, and sums in a fixed order."""

from __future__ import annotations

import torch
from torch import Tensor

_ENTRIES = 1 << 22
"""Numbers of one gathered block: bounds the memory beside inputs and results."""


def blocks(rows: int, width: int) -> list[slice]:
    """Parts of ``rows`` rows of ``width`` numbers each; one empty part where there are no rows."""
    high = max(1, _ENTRIES // max(1, width))
    return [slice(top, min(top + high, rows)) for top in range(0, max(1, rows), high)]


def add_by_owner(result: Tensor, owner: Tensor, terms: Tensor) -> None:
    """Add each term to its owner's row of ``result``, in order and by one summer a row: the same bits each
    time.

    owner: int64 [T], ascending; terms: [T, ...] of ``result``'s dtype.
    """
    if not len(owner):
        return
    named, counts = owner.unique_consecutive(return_counts=True)
    result[named] += torch.segment_reduce(terms, "sum", lengths=counts)
