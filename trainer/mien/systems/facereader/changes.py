"""How much each unit changes from one picture of a person to another."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien.systems.editing.pair_rules import UNITS
from mien.systems.facereader.blocks import convolutions

_CELLS = 8
_NARROW = 32
_HIDDEN = 128


class Changes(nn.Module):
    """Both pictures, one on the other, to differences of intensities.

    Eyes that are wide by nature look like eyes that are opened wide, so that the units of one picture are
    known only as far as the person is. Two pictures of one person, aligned, have no such doubt: this is how
    an edit is measured. Swapped pictures give exactly the opposite, and a picture against itself exactly
    nothing.

    Args:
        widths: channels at full, half, quarter and eighth resolution.
    """

    def __init__(self, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.stem = convolutions(6, first, 1)
        self.trunk = nn.Sequential(
            convolutions(first, second, 2), convolutions(second, third, 2), convolutions(third, fourth, 2)
        )
        self.head = nn.Sequential(
            nn.Conv2d(fourth, _NARROW, 1), nn.AdaptiveAvgPool2d(_CELLS), nn.Flatten(),
            nn.Linear(_NARROW * _CELLS * _CELLS, _HIDDEN), nn.SiLU(), nn.Linear(_HIDDEN, len(UNITS)),
        )  # fmt: skip

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """FACS levels [B, 12] that `after` shows more than `before`, both float [B, 3, S, S] in -1..1."""
        there, back = torch.cat([before, after], 1), torch.cat([after, before], 1)
        said = self.head(self.trunk(self.stem(torch.cat([there, back]))))
        forth, opposite = said.chunk(2)
        return (forth - opposite) / 2
