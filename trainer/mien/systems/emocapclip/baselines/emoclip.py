"""EmoCLIP (arXiv 2310.16640): OpenAI's CLIP with a transformer over the frames of a clip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mien.errors import RunError
from mien.systems.emocapclip.baselines import openai, temporal
from mien.systems.emocapclip.baselines.temporal import TemporalTransformer
from mien.systems.emocapclip.load import EmoCapEncoder
from mien.systems.emocapclip.model import EmoCapCLIP
from mien.systems.emocapclip.rows import unit
from mien.systems.weights import read_state, require_shapes

_BACKBONE = "backbone."
_SCALE = "logit_scale"
_FIX = "give a state dict of the whole EmoCLIP: backbone.*, temporal.* and logit_scale"
_ROWS = 256  # one-frame clips at once: queries, keys and values are 96 times as wide as an embedding


class EmoClipEncoder(EmoCapEncoder):
    """A clip through both CLIP's image tower and the transformer; a picture is a clip of one frame.

    Args:
        model: CLIP's towers, with the logit scale of EmoCLIP.
        clips: the transformer over frames.
        image_size: side in pixels that the image tower takes.
        device: where to compute; None takes a GPU if there is one.
    """

    def __init__(
        self,
        model: EmoCapCLIP,
        clips: TemporalTransformer,
        image_size: int,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(model, image_size, patches=False, device=device)
        self.clips = clips.to(self.device).eval().requires_grad_(False)

    @torch.inference_mode()
    def encode_clip(self, frames: Tensor) -> Tensor:
        """Frames uint8 [T, 3, H, W] of one clip to its embedding float32 [D] on the CPU, not normalised.

        Raises:
            ValueError: for no frame, or more than there are positions.
        """
        if not 1 <= len(frames) <= self.clips.most:
            raise ValueError(f"{len(frames)} frames: give 1 to {self.clips.most}")
        seen = self.model.image(self.model.normalise(self._fit(frames))).embedding
        embedding: Tensor = self.clips(seen.float()[None])[0]
        return embedding.cpu()

    @torch.inference_mode()
    def image_features(self, images: Tensor, normalise: bool = True) -> Tensor:
        """Each of the images uint8 [B, 3, H, W] as a clip of one frame: float32 [B, D], not normalised."""
        seen = super().image_features(images, normalise)
        return self._alone(seen.to(self.device)).cpu()

    def _rows(self, embeddings: Tensor) -> Tensor:
        return unit(self._alone(embeddings.float()))

    def _alone(self, embeddings: Tensor) -> Tensor:
        """Embeddings [..., D], each as the only frame of a clip, to those of the clips."""
        rows = embeddings.reshape(-1, 1, embeddings.shape[-1])
        return torch.cat([self.clips(part) for part in rows.split(_ROWS)]).reshape(embeddings.shape)


def load_emoclip(path: Path, device: torch.device | None) -> EmoClipEncoder:
    """EmoCLIP from the state dict that its training saves, with or without `module.` before the names.

    Args:
        path: safetensors, or torch weights of plain tensors.
        device: where to compute; None takes a GPU if there is one.

    Raises:
        RunError: if the file is absent, unsafe, or does not hold exactly the tensors of EmoCLIP.
    """
    state = read_state(path)
    if f"{_BACKBONE}conv1.weight" in state:
        raise RunError("the image tower without a text tower: no zero-shot model", where=path, fix=_FIX)
    tower = openai.tower_of(state, _BACKBONE + openai.KERNEL, path, _FIX)
    model = openai.empty(tower)
    clips = clips_for(state, model)
    require_shapes(shapes(model, clips), state, path, _FIX)
    for name, tensor in _tensors(model, clips).items():
        tensor.copy_(state[name])
    # Training goes on with a scale of its own beside CLIP's; scores are made with that.
    model.log_scale.data.copy_(state[_SCALE].reshape(1))
    return EmoClipEncoder(model, clips, openai.image_size(tower), device)


def clips_for(state: Mapping[str, Tensor], model: EmoCapCLIP) -> TemporalTransformer:
    """The transformer over frames for CLIP's dimensions and a file's other sizes, not yet filled."""
    visual: Any = model.image.visual
    return temporal.sized_for(state, visual.proj.shape[1])


def shapes(model: EmoCapCLIP, clips: TemporalTransformer) -> dict[str, torch.Size]:
    """What a file of EmoCLIP holds, by the names of the public code."""
    own = {name: tensor.shape for name, tensor in _tensors(model, clips).items()}
    return own | {_SCALE: torch.Size()}


def _tensors(model: EmoCapCLIP, clips: TemporalTransformer) -> dict[str, Tensor]:
    clip = {_BACKBONE + name: tensor for name, tensor in openai.tensors(model).items()}
    return clip | temporal.tensors(clips)
