"""What one direction of a contrast needs besides embeddings: the seam between API and back ends."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .tags import Tags

FORMS = ("out", "in", "dec", "sigmoid")
"""How the positives of a row and its negatives make its loss (spec 7.6; SigLIP, arXiv 2303.15343)."""


@dataclass(frozen=True)
class Side:
    """R rows against K candidates. Indices are positions among the K candidates, -1 is padding."""

    offset: int = 0
    """Without ``indices``, row i has one positive: candidate ``offset + i``, with weight 1."""
    indices: Tensor | None = None
    """int64 [R, P]: positives. Counts: index >= 0, weight > 0, candidate valid."""
    weights: Tensor | None = None
    """float [R, P]: their target weights Y."""
    row_weight: Tensor | None = None
    """float [R]: 0 = dead row."""
    valid: Tensor | None = None
    """bool [K]: candidates that exist."""
    tags: tuple[Tags, Tags] | None = None
    """Tags of rows and of candidates: pairs that match are left out of the normaliser unless positive."""
    ignore: Tensor | None = None
    """int64 [R, I]: further pairs that are left out of the normaliser unless positive."""
    form: str = "out"
    bias: Tensor | None = None
    """0-d, added to the logits: of the form ``sigmoid`` only."""

    @property
    def plain(self) -> bool:
        """True if each row has its own pair as its one positive and no list ignores others."""
        return self.indices is None and self.ignore is None
