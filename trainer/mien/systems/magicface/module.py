"""MagicFace in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.systems.editing.module import EditModule
from mien.systems.editing.pair_samples import MAPS
from mien.systems.magicface.config import MagicFaceModel
from mien.systems.magicface.model import NAME, build

if TYPE_CHECKING:
    from mien.recipe import Recipe


class MagicFaceModule(EditModule):
    """Noise of the target, given the source, its background and jaw, and differences of action units."""

    def __init__(self, recipe: Recipe) -> None:
        assert isinstance(recipe.model, MagicFaceModel)
        super().__init__(recipe, build(recipe.model), recipe.model.codec, MAPS[NAME])
