"""A trained editor at rest: photos to latents, edits back to pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mien.errors import RunError
from mien.systems.editing.codec import Codec, open_codec
from mien.systems.editing.config import CodecConfig, EditObjective
from mien.systems.editing.model import Editor
from mien.systems.editing.pair_samples import as_bytes, as_pixels
from mien.systems.editing.sampler import SampleConfig, sample


class EditorAtRest:
    """Networks and codec of a run; systems add what their conditions are made of.

    Args:
        editor: trained weights.
        codec: of the recipe.
        size: side of the pictures, pixels.
        objective: of the recipe; its noise is what the sampler steps through.
        device: where to compute; None takes a GPU if there is one.

    Raises:
        RunError: if the recipe trained on latents of the set: there is nothing to encode photos with.
    """

    def __init__(
        self,
        editor: Editor,
        codec: CodecConfig,
        size: int,
        objective: EditObjective,
        device: torch.device | None = None,
    ) -> None:
        if codec.kind == "vae" and codec.folder is None:
            raise RunError(
                "this run knows latents alone",
                where="model.codec.folder",
                fix="name the autoencoder's folder",
            )
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.editor = editor.to(self.device).eval().requires_grad_(False)
        self.noise, self.size = objective.noise, size
        self.codec: Codec = open_codec(codec)

    def check(self, picture: np.ndarray) -> None:
        """Raise ValueError unless the photo to edit is [S, S, 3]."""
        if picture.shape != (self.size, self.size, 3):
            raise ValueError(f"the photo is {[*picture.shape]}, not {[self.size, self.size, 3]}")

    def pixels(self, picture: np.ndarray) -> Tensor:
        """float32 [1, 3, S, S] in -1..1 of a picture uint8 [S, S, 3]."""
        return as_pixels(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].to(self.device))

    def encode(self, picture: np.ndarray) -> Tensor:
        """Latent [1, C, h, w] of a picture uint8 [S, S, 3]."""
        return self.codec.encode(self.pixels(picture))

    @torch.inference_mode()
    def draw(
        self,
        picture: np.ndarray,
        maps: Tensor,
        vectors: Tensor,
        config: SampleConfig,
        note: Callable[[int], None],
    ) -> Tensor:
        """Edits uint8 [E, 3, S, S] of a photo uint8 [S, S, 3], on the CPU; the rest as of `sampler.sample`.

        An editor that tells differences changes the photo itself: what the codec leaves out of it stays.
        """
        photo = self.encode(picture)
        latents = sample(self.editor, photo, maps, vectors.to(self.device), self.noise, config, note)
        made = self.codec.decode(latents / self.codec.target_scale)
        if self.editor.residual is not None:
            made = made + (self.pixels(picture) - self.codec.decode(photo))
        return as_bytes(made).cpu()
