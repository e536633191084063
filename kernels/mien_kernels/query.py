"""What a search for positives needs: the seam between ``mine`` and its back ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from .tags import Tags


class Guide(NamedTuple):
    """One similarity S_ij = x_i.y_j, standardised by mean and sd. x, y: float [N, D]; mean, sd: 0-d."""

    x: Tensor
    y: Tensor
    mean: Tensor
    sd: Tensor


@dataclass(frozen=True)
class Query:
    """Find in each of ``rows`` the ``k`` best partners and the next ``ignore`` ones."""

    guides: tuple[Guide, ...]
    """The standardised similarities that are combined; the first one also ranks the ignored."""
    combine: str
    """``min`` or ``max`` over the guides."""
    rows: slice
    """The rows that are searched for; partners come from all N."""
    usable: Tensor
    """bool [N]: rows that may take part."""
    tags: Tags | None
    """Pairs that match are never mined."""
    within: Tensor | None
    """int64 [N]: only pairs of equal value are mined."""
    k: int
    threshold: float
    temperature: float
    ignore: int
    ignore_threshold: float
    ignore_cosine: float | None
    """Bar on the plain cosine of the first guide, in place of ``ignore_threshold``."""
