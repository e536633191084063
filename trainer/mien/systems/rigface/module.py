"""RigFace in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.systems.editing.module import EditModule
from mien.systems.editing.pair_samples import MAPS
from mien.systems.rigface.config import RigFaceModel
from mien.systems.rigface.model import NAME, build

if TYPE_CHECKING:
    from mien.recipe import Recipe


class RigFaceModule(EditModule):
    """Noise of the target, given the source, its background, the target's rendering and psi."""

    def __init__(self, recipe: Recipe) -> None:
        assert isinstance(recipe.model, RigFaceModel)
        super().__init__(recipe, build(recipe.model), recipe.model.codec, MAPS[NAME])
