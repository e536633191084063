"""Squares of pixels as their lowest cosines: what a tiny editor can carry, made of nothing that is learnt.

As in JPEG: brightness in more detail than colour. A square of 4 pixels a side has 48 numbers, of which most
say little; with 13 cosines of brightness and 3 of each colour, 19 in all, faces of the face world lose 1.3 %
(RMSE of 3.2 in 255).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.systems.editing.config import CodecConfig

# Brightness, red against blue, green against both; orthonormal.
_COLOURS = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 2.0, -1.0]], dtype=torch.float64)


class CosineCodec:
    """The lowest cosines of each square, brought to about equal strength.

    Args:
        config: `factor`, `detail` and `colour`.
    """

    target_scale = 1.0

    def __init__(self, config: CodecConfig) -> None:
        self.factor = config.factor
        with torch.device("cpu"):  # numbers, also where a plan builds networks on `meta`
            basis, strength = _basis(config)
        self.channels = len(basis)
        # Half-way to equal: weak cosines would else never be learnt, and at equal strength they would be all.
        scale = strength**-0.5
        scale *= 0.7 / (strength * scale).square().mean().sqrt()
        self.to = (basis * scale[:, None]).float()
        self.back = (basis / scale[:, None]).float()

    def encode(self, pictures: Tensor) -> Tensor:
        """See `Codec`; raises ValueError where squares do not cover the picture."""
        if pictures.shape[-1] % self.factor or pictures.shape[-2] % self.factor:
            height, width = pictures.shape[-2:]
            raise ValueError(f"{width} x {height} pixels are not whole squares of {self.factor}")
        squares = F.pixel_unshuffle(pictures, self.factor)
        return torch.einsum("bchw,kc->bkhw", squares, self.to.to(squares))

    def decode(self, latents: Tensor) -> Tensor:
        """See `Codec`; without what `encode` left out."""
        squares = torch.einsum("bkhw,kc->bchw", latents, self.back.to(latents))
        return F.pixel_shuffle(squares, self.factor)


def _basis(config: CodecConfig) -> tuple[Tensor, Tensor]:
    """Orthonormal rows float64 [K, 3 * factor * factor], and about how strong each is in pictures, [K]."""
    side = config.factor
    places = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    waves = torch.cos(math.pi * torch.arange(side, dtype=torch.float64)[:, None] * places) * math.sqrt(
        2 / side
    )
    waves[0] /= math.sqrt(2)
    colours = _COLOURS / _COLOURS.norm(dim=1, keepdim=True)
    rows, strengths = [], []
    for colour, down, across in kept(config):
        wave = waves[down][:, None] * waves[across]
        rows.append((colours[colour][:, None, None] * wave).flatten())
        strengths.append((2.0 if down + across == 0 else 0.6 / (down + across)) * (0.25 if colour else 1))
    return torch.stack(rows), torch.tensor(strengths, dtype=torch.float64)


def kept(config: CodecConfig) -> list[tuple[int, int, int]]:
    """(colour, waves down, waves across) of each channel: up to `detail` waves, in colours up to `colour`."""
    return [
        (colour, down, across)
        for colour, most in enumerate((config.detail, config.colour, config.colour))
        for down in range(config.factor)
        for across in range(config.factor)
        if down + across <= most
    ]
