"""What every run needs and no system knows of: loop, exact resume, checkpoints, signals, meters, tracking."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.recipe import Recipe


def run(recipe: Recipe, *, resume: bool = False) -> Path:
    """Train a recipe: `mien.engine.training.train`, imported at the first call because torch loads slowly."""
    from mien.engine.training import train

    return train(recipe, resume=resume)
