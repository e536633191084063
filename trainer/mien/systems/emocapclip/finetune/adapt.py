"""Ways to change a tower a little: low-rank updates of its matrices, narrow networks after its blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mien.systems.emocapclip.finetune.config import AdaptConfig
from mien.systems.emocapclip.towers import ResidualBlock

BLOCKS = (ResidualBlock, ResidualAttentionBlock)
"""What a tower is built of."""


class LowRank(nn.Module):
    """W + (alpha / rank) B A for a weight W of any shape, read as [out, rest]; B starts at zero (LoRA, 4.1).

    As a parametrisation it also reaches the fused projections of attention, and weight standardisation sees
    the changed weight.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        out, rest = weight.shape[0], weight[0].numel()
        rank = min(rank, out, rest)
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, rest))
        self.up = nn.Parameter(torch.zeros(out, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight."""
        return weight + (self.scale * (self.up @ self.down)).view(weight.shape)


class Adapter(nn.Module):
    """x + up(GELU(down(norm(x)))) on the channels of tokens [.., C] or of maps [B, C, H, W]; starts as x."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.down = nn.Linear(channels, width)
        self.up = nn.Linear(width, channels)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        tokens = x.movedim(1, -1) if x.ndim == 4 else x
        changed = tokens + self.up(nn.functional.gelu(self.down(self.norm(tokens))))
        return changed.movedim(-1, 1) if x.ndim == 4 else changed


def adapt(tower: nn.Module, config: AdaptConfig) -> None:
    """Freeze a tower but for what the way of adapting trains."""
    if config.how == "full":
        return
    tower.requires_grad_(False)
    for block in blocks_of(tower):
        if config.how == "lora":
            for module, name in list(_matrices(block)):
                weight = getattr(module, name)
                parametrize.register_parametrization(
                    module, name, LowRank(weight, config.rank, config.alpha), unsafe=True
                )
        elif config.how == "adapter":
            block.add_module("adapter", Adapter(_channels(block), config.width))
            block.register_forward_hook(_through_adapter)


def blocks_of(tower: nn.Module) -> list[nn.Module]:
    """Its blocks, in the order of the forward pass."""
    return [part for part in tower.modules() if isinstance(part, BLOCKS)]


def _through_adapter(block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    adapter = block.adapter
    assert isinstance(adapter, Adapter)
    return adapter(output)


def _matrices(block: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Weights of two dimensions or more of a block: projections, convolutions."""
    for part in block.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if name.endswith("weight") and parameter.ndim in (2, 4) and min(parameter.shape[:2]) > 1:
                yield part, name


def _channels(block: nn.Module) -> int:
    """Of a block's output."""
    if isinstance(block, ResidualAttentionBlock):
        return int(block.ln_2.normalized_shape[0])
    assert isinstance(block, ResidualBlock)
    return block.conv2.out_channels
