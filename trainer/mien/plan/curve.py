"""From steps counted at a few micro batches to any other: lines between them, the last ones drawn out.

Networks take samples one by one, so everything they need is a line in the micro batch, but for pieces of
fixed size (the text tower encodes 192 sentences at a time) that make a peak a few lines.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

KNOTS = (1, 8, 32, 128)
"""Micro batches that are counted, where the largest that is asked for reaches them."""


def knots(largest: int) -> tuple[int, ...]:
    """Micro batches to count so that all up to `largest` follow."""
    return tuple(sorted({min(knot, largest) for knot in KNOTS}))


def between(values: Mapping[int, float], at: int) -> float:
    """Value at a micro batch from values at some: piecewise linear; one value alone is constant.

    Args:
        values: by micro batch, at least one.
        at: micro batch.
    """
    places = sorted(values)
    if at in values or len(places) == 1:
        return values.get(at, values[places[0]])
    right = min(max(bisect_right(places, at), 1), len(places) - 1)
    low, high = places[right - 1], places[right]
    slope = (values[high] - values[low]) / (high - low)
    return values[low] + slope * (at - low)
