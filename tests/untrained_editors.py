"""Runs of editors with random weights: made in seconds, good for everything but the look of an edit."""

from __future__ import annotations

from pathlib import Path

import torch

from mien import recipe as recipes
from mien.engine import given
from mien.engine.rundir import RunFolder
from mien.systems.facereader.model import FaceReader
from mien.systems.magicface.model import build

SMALL = {
    "magicface/tiny": ("model.unet.channels=[16,16]", "model.unet.groups=4", "model.unet.heads=2"),
    "facereader/tiny": ("model.widths=[8,8,8,8]",),
}


def untrained(root: Path, name: str, seed: int = 0) -> RunFolder:
    """A run of a recipe of `SMALL` with one checkpoint at step 0."""
    recipe = recipes.load(name, [*SMALL[name], f"run.root={root}", "data.val=null", "tracking.wandb=off"])
    torch.manual_seed(seed)
    network = build(recipe.model) if name.startswith("magicface") else FaceReader(recipe.model)
    # Output layers that begin at zero draw the same picture whatever is asked for.
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    weights = {f"model.{key}": value for key, value in network.state_dict().items()}
    return given.make(recipe, "untrained", weights, {"release": "none"})
