"""Contrast, mining and patch grouping for contrastive training; needs torch only."""

from __future__ import annotations

from .backends import choose_backend
from .contrast import contrast, symmetric_contrast
from .exchange import gather, gather_rows, own_rows
from .group_patches import group_patches
from .mine import Lists, Mined, mine
from .tags import Tags

__all__ = [
    "Lists",
    "Mined",
    "Tags",
    "choose_backend",
    "contrast",
    "gather",
    "gather_rows",
    "group_patches",
    "mine",
    "own_rows",
    "symmetric_contrast",
]
