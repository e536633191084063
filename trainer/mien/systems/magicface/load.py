"""A trained MagicFace: edits of a photo by differences of action units."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien.engine.rundir import RunFolder
from mien.errors import RunError
from mien.systems.editing.codec import Codec, open_codec
from mien.systems.editing.conditions import condition_image
from mien.systems.editing.config import EditObjective
from mien.systems.editing.face import Face
from mien.systems.editing.model import Editor
from mien.systems.editing.pair_samples import as_bytes, as_pixels
from mien.systems.editing.sampler import SampleConfig, sample
from mien.systems.magicface.config import MagicFaceModel
from mien.systems.magicface.model import build
from mien.systems.weights import load_strictly, state_for_export


class MagicFace:
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
        if config.codec.kind == "vae" and config.codec.folder is None:
            raise RunError(
                "this run knows latents alone",
                where="model.codec.folder",
                fix="name the autoencoder's folder",
            )
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.editor = editor.to(self.device).eval().requires_grad_(False)
        self.config, self.noise = config, objective.noise
        self.size = config.image_size
        self.codec: Codec = open_codec(config.codec)

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
        if face.picture.shape != (self.size, self.size, 3):
            raise ValueError(f"the photo is {[*face.picture.shape]}, not {[self.size, self.size, 3]}")
        photo = self.codec.encode(self._pixels(face.picture))
        condition = self.codec.encode(self._pixels(self.condition(maps or face)))
        made = sample(self.editor, photo, condition, vectors.to(self.device), self.noise, config, note)
        return as_bytes(self.codec.decode(made / self.codec.target_scale)).cpu()

    def condition(self, face: Face) -> np.ndarray:
        """The condition image of a face, uint8 [S, S, 3]."""
        jaw = face.jaw_rest if self.config.jaw == "rest" else face.jaw
        return condition_image(face.picture, face.labels, jaw, self.config.mask_mode)

    def _pixels(self, picture: np.ndarray) -> Tensor:
        return as_pixels(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].to(self.device))


def load(run: str | Path, which: str = "last", device: torch.device | None = None) -> MagicFace:
    """The editor of a run, with averaged weights where the run kept an average.

    Raises:
        RunError: if the run or checkpoint cannot be used.
    """
    folder = RunFolder.open(run)
    config, objective = folder.recipe.model, folder.recipe.objective
    assert isinstance(config, MagicFaceModel)
    assert isinstance(objective, EditObjective)
    state = state_for_export(folder, which)
    editor = build(config, start=False, prompt=state.get("prompt"))  # its file may be gone
    load_strictly(editor, state, folder.path)
    return MagicFace(editor, config, objective, device)
