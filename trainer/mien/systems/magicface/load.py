"""A trained MagicFace: edits of a photo by differences of action units."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien.engine.rundir import RunFolder
from mien.systems.editing.conditions import condition_image
from mien.systems.editing.config import EditObjective
from mien.systems.editing.face import Face
from mien.systems.editing.model import Editor
from mien.systems.editing.rest import EditorAtRest
from mien.systems.editing.sampler import SampleConfig
from mien.systems.editing.start import trained
from mien.systems.magicface.config import MagicFaceModel
from mien.systems.magicface.model import NAME


class MagicFace(EditorAtRest):
    """Networks at rest.

    Args:
        editor: trained weights.
        config: of the recipe.
        objective: of the recipe; its noise is what the sampler steps through.
        device: where to compute; None takes a GPU if there is one.

    Raises:
        RunError: if the recipe trained on latents of the set: there is nothing to encode photos with.
    """

    def __init__(
        self,
        editor: Editor,
        config: MagicFaceModel,
        objective: EditObjective,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(editor, config.codec, config.image_size, objective, device)
        self.config = config

    @torch.inference_mode()
    def edit(
        self,
        face: Face,
        vectors: Tensor,
        config: SampleConfig,
        note: Callable[[int], None] = lambda count: None,
        maps: Face | None = None,
    ) -> Tensor:
        """Edits of one photo, uint8 [E, 3, S, S] on the CPU.

        Args:
            face: the photo; its side is `size`.
            vectors: differences of action units in FACS levels, [E, 12]; zero is no edit.
            config: how to sample.
            note: told of sampler steps done, see `sampler.sample`.
            maps: face whose background and pose the edits take; the photo's own if None.

        Raises:
            ValueError: if the photo has another size.
        """
        self.check(face.picture)
        condition = self.encode(self.condition(maps or face))
        return self.draw(face.picture, condition, vectors, config, note)

    def condition(self, face: Face) -> np.ndarray:
        """The condition image of a face, uint8 [S, S, 3]."""
        jaw = face.jaw_rest if self.config.jaw == "rest" else face.jaw
        return condition_image(face.picture, face.labels, jaw, self.config.mask_mode)


def load(run: str | Path, which: str = "last", device: torch.device | None = None) -> MagicFace:
    """The editor of a run, with averaged weights where the run kept an average.

    Raises:
        RunError: if the run or checkpoint cannot be used.
    """
    folder = RunFolder.open(run)
    config, objective = folder.recipe.model, folder.recipe.objective
    assert isinstance(config, MagicFaceModel)
    assert isinstance(objective, EditObjective)
    editor = trained(folder, which, config, NAME)
    return MagicFace(editor, config, objective, device)
