"""What every run needs and no system knows of: the loop, exact resume, checkpoints, signals, meters, tracking."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.recipe import Recipe


def run(recipe: Recipe, *, resume: bool = False) -> Path:
    """Train a recipe; see `mien.engine.training.train`, which is imported on the first call because torch is slow to load."""
    from mien.engine.training import train

    return train(recipe, resume=resume)
