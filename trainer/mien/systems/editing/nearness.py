"""Attention that falls off with the distance of places, for editors that are trained from scratch.

Networks that both come from Stable Diffusion find what is alike in photo and edit from the first step on. Two
from scratch would first have to learn where to look, while one of them sees noise. So each head of a block
begins with a reach of its own, and learns it:

    score(i, j) = q_i . k_j / sqrt(d) - g |place_i - place_j|^2

with places in steps of the block's own grid; the same for keys of the photo and for the network's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

_MORE = 4  # a multiple of it, so that heads keep a width that kernels like; the last is zero


class Nearness(nn.Module):
    """How steeply the attention of each head falls off.

    Args:
        names: of the blocks.
        heads: of each block.
        start: falloffs g at the beginning, more than 0, to the heads in turn.
    """

    def __init__(self, names: Iterable[str], heads: int, start: Sequence[float]) -> None:
        super().__init__()
        first = torch.tensor([start[head % len(start)] for head in range(heads)]).log()
        self.falloff = nn.ParameterDict({_key(name): nn.Parameter(first.clone()) for name in names})

    def joined(self, name: str, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of one block, such that their plain attention falls off as said.

        Args:
            name: of the block.
            query: [B, heads, N, d], of a square grid, row by row.
            key: [B, heads, M N, d], of M grids of that size.
            value: like key.

        Returns:
            float32, d larger by 4: the square of the distance is a product of what only the query and only
            the key know, but for what is the same for all keys. The last 4 of what comes out are zeros.
        """
        count, width = query.shape[-2:]
        across, down = _places(count, query.device)
        steep = self.falloff[_key(name)].float().exp()[:, None]
        # Attention divides by the root of the width, which is larger now.
        root, grown = width**0.5, (width + _MORE) ** 0.5
        ones, zeros = torch.ones_like(across), torch.zeros_like(across)
        asks = torch.stack([across, down, ones, zeros], -1).expand(*query.shape[:-1], _MORE)
        tells = grown * torch.stack(
            [2 * steep * across, 2 * steep * down, -steep * (across**2 + down**2), steep * zeros], -1
        )
        tells = tells.repeat(1, key.shape[-2] // count, 1).expand(*key.shape[:-1], _MORE)
        return (
            torch.cat([query.float() * (grown / root), asks], -1),
            torch.cat([key.float(), tells], -1),
            torch.cat([value.float(), value.new_zeros(*value.shape[:-1], _MORE, dtype=torch.float32)], -1),
        )


def parted(found: Tensor) -> Tensor:
    """What attention made of `joined` values, without the zeros."""
    return found[..., :-_MORE]


def _places(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Columns and rows of the places of a square grid, about its middle, float32 [count] each."""
    side = round(count**0.5)
    if side * side != count:
        raise ValueError(f"{count} places are no square grid")
    line = torch.arange(side, device=device, dtype=torch.float32) - (side - 1) / 2
    down, across = torch.meshgrid(line, line, indexing="ij")
    return across.flatten(), down.flatten()


def _key(name: str) -> str:
    return name.replace(".", "_")  # a parameter's name holds no dot
