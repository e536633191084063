"""The network of a face reader."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.systems.editing.conditions import JAW
from mien.systems.editing.pair_rules import UNITS
from mien.systems.editing.parsing import CLASSES
from mien.systems.facereader.blocks import convolutions
from mien.systems.facereader.changes import Changes
from mien.systems.facereader.codes import WIDTH
from mien.systems.facereader.config import ReaderModel

_GRID = 4
_HIDDEN = 256


class Reading(NamedTuple):
    """What the network says of a batch of pictures."""

    parts: Tensor
    """Logits of `parsing.CLASSES` at each pixel, [B, 19, S, S]."""
    jaw: Tensor
    """Points (x, y) as fractions of the side, [B, 2, 17, 2]: with the expression, and at rest."""
    units: Tensor
    """Intensities in FACS levels, [B, 12], not cut to 0..5."""
    pose: Tensor
    """Yaw, pitch and roll in degrees, [B, 3]."""
    identity: Tensor
    """Unit rows [B, E]: near for one person, far for two."""
    codes: Tensor
    """Numbers of the 3D face, see `codes.numbers_of`, [B, `codes.WIDTH`]; [B, 0] where none are read."""


class FaceReader(nn.Module):
    """Pictures to readings.

    Args:
        config: sizes.
    """

    def __init__(self, config: ReaderModel) -> None:
        super().__init__()
        first, second, third, fourth = config.widths
        self.stem = convolutions(3, first, 1)
        self.down = nn.ModuleList(
            [convolutions(first, second, 2), convolutions(second, third, 2), convolutions(third, fourth, 2)]
        )
        self.deep = convolutions(fourth, fourth, 1)
        self.up = nn.ModuleList(
            [
                convolutions(fourth + third, third, 1),
                convolutions(third + second, second, 1),
                convolutions(second + first, first, 1),
            ]
        )
        self.parts = nn.Conv2d(first, len(CLASSES), 1)
        flat = fourth * _GRID * _GRID
        self.heads = nn.ModuleDict(
            {
                "jaw": nn.Linear(flat, 2 * JAW * 2),
                "units": nn.Linear(flat, len(UNITS)),
                "pose": nn.Linear(flat, 3),
                "identity": nn.Linear(flat, config.embed),
            }
        )
        if config.codes:
            self.heads["codes"] = nn.Sequential(
                nn.Linear(flat, _HIDDEN), nn.SiLU(), nn.Linear(_HIDDEN, WIDTH)
            )
        if config.changes is not None:
            self.changes = Changes(config.changes)

    def forward(self, pictures: Tensor, parts: bool = True) -> Reading:
        """Readings of pictures float [B, 3, S, S] in -1..1; without `parts` its logits are empty."""
        seen = [self.stem(pictures)]
        for block in self.down:
            seen.append(block(seen[-1]))
        deep = self.deep(seen[-1])
        flat = F.adaptive_avg_pool2d(deep, _GRID).flatten(1)
        jaw = 0.5 + 0.1 * self.heads["jaw"](flat).unflatten(1, (2, JAW, 2))
        return Reading(
            self._parts(deep, seen) if parts else deep.new_zeros(len(deep), 0),
            jaw,
            self.heads["units"](flat),
            10 * self.heads["pose"](flat),
            F.normalize(self.heads["identity"](flat), dim=1),
            self.heads["codes"](flat) if "codes" in self.heads else flat.new_zeros(len(flat), 0),
        )

    def _parts(self, deep: Tensor, seen: list[Tensor]) -> Tensor:
        for block, skip in zip(self.up, reversed(seen[:-1]), strict=True):
            deep = block(torch.cat([F.interpolate(deep, size=skip.shape[2:], mode="nearest"), skip], 1))
        logits: Tensor = self.parts(deep)
        return logits
