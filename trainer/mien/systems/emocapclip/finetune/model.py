"""An image tower with a head over images, or over the frames of clips."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien.systems.emocapclip.finetune.adapt import adapt
from mien.systems.emocapclip.finetune.config import ClipConfig, FinetuneModel
from mien.systems.emocapclip.model import unit
from mien.systems.emocapclip.towers import build_towers


class FrameTransformer(nn.Module):
    """A class token and learnt places over frame embeddings [B, T, D]; its output is [B, D]."""

    def __init__(self, width: int, config: ClipConfig) -> None:
        super().__init__()
        if width % config.heads:
            raise ValueError(f"clip.heads {config.heads} does not divide the embedding width {width}")
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.place = nn.Parameter(torch.randn(1, config.frames + 1, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, config.heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, frames: Tensor) -> Tensor:
        """The class token's output, normalised."""
        tokens = torch.cat([self.token.expand(len(frames), -1, -1), frames], dim=1) + self.place
        return self.norm(self.layers(tokens)[:, 0])


class FrameGru(nn.Module):
    """A bidirectional GRU over frame embeddings [B, T, D]; both last states, projected to [B, D]."""

    def __init__(self, width: int, config: ClipConfig) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width // 2, config.layers, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(2 * (width // 2))
        self.out = nn.Linear(2 * (width // 2), width)

    def forward(self, frames: Tensor) -> Tensor:
        """Projected states."""
        last = self.gru(frames)[1][-2:]
        return self.out(self.norm(torch.cat([last[0], last[1]], dim=1)))


class FaceClassifier(nn.Module):
    """Logits of classes from images or clips.

    Attributes:
        image: EmoCapCLIP's image tower, adapted.
        temporal: embeddings of frames to one; None for images and for the mean.
        head: the last layer.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: FinetuneModel) -> None:
        super().__init__()
        towers = build_towers(config)
        self.image = towers.image
        self.register_buffer("mean", torch.tensor(towers.mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(towers.std).view(3, 1, 1) * 255, persistent=False)
        width = self._width(config.image_size)
        self.temporal: nn.Module | None = None
        if config.clip is not None and config.clip.head != "mean":
            kind = FrameTransformer if config.clip.head == "transformer" else FrameGru
            self.temporal = kind(width, config.clip)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.head = nn.Linear(width, len(config.classes))
        nn.init.zeros_(self.head.bias)

    def adapt(self, config: FinetuneModel) -> None:
        """Freeze and add what the recipe says; after starting weights are loaded, whose names it changes."""
        adapt(self.image, config.adapt)

    def features(self, images: Tensor) -> Tensor:
        """Images uint8 [B, 3, S, S], or clips [B, T, 3, S, S], to one embedding each, float32 [B, D]."""
        if images.ndim == 4:
            return unit(self._see(images))
        frames = unit(self._see(images.flatten(0, 1))).unflatten(0, images.shape[:2])
        return frames.mean(1) if self.temporal is None else self.temporal(frames)

    def forward(self, images: Tensor) -> Tensor:
        """Logits float32 [B, C]."""
        return self.head(self.dropout(self.norm(self.features(images)))).float()

    def _see(self, images: Tensor) -> Tensor:
        return self.image((images.float() - self.mean) / self.std).embedding

    def _width(self, size: int) -> int:
        with torch.no_grad():
            return int(self.image.eval()(torch.zeros(1, 3, size, size)).embedding.shape[-1])
