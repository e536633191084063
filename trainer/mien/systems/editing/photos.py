"""Other ways for a photo to reach the denoiser, to compare the published one with (magicface spec, II)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from diffusers import ControlNetModel
from torch import Tensor, nn
from torch.nn import functional as F

from mien.systems.editing.config import ConditionConfig, UNetConfig

_CONTROL = ("conv_in.", "time_embedding.", "down_blocks.", "mid_block.")


def control_network(config: UNetConfig, condition: ConditionConfig) -> ControlNetModel:
    """diffusers' ControlNet (arXiv 2302.05543) beside the denoiser, its condition the photo's latent.

    It takes what the denoiser takes: the noisy latent with the condition latents, and the vector.
    """
    given = config.arguments()
    given["in_channels"] += config.latent_channels * condition.maps + (condition.injection == "channel")
    for name in ("out_channels", "up_block_types"):
        del given[name]
    if condition.injection == "linear":  # it knows no "simple_projection"; its "projection" has a layer more
        given |= {"class_embed_type": "projection", "projection_class_embeddings_input_dim": condition.width}
    elif condition.injection == "pad":
        given |= {"class_embed_type": "identity"}
    return ControlNetModel(
        **given,
        conditioning_channels=config.latent_channels,
        conditioning_embedding_out_channels=(config.channels[0],),  # one level: the latent keeps its size
    )


def copy_encoder(control: ControlNetModel, denoiser: nn.Module) -> None:
    """Start a ControlNet as a copy of the denoiser's encoder, as published."""
    theirs = denoiser.state_dict()
    own = {name: theirs[name] for name in control.state_dict() if name.startswith(_CONTROL)}
    entry = "conv_in.weight"
    own[entry] = own[entry][:, : control.conv_in.in_channels]  # all but the photo, which it is shown anyway
    control.load_state_dict(control.state_dict() | own)


class ConvolutionalEncoder(nn.Module):
    """Convolutions of the photo's latent, added to the denoiser's levels on the way down (like arXiv
    2302.08453); at first nothing is added.

    Args:
        config: channels and groups of the denoiser.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        widths = config.channels
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, 1, 1)
        self.levels = nn.ModuleList(
            nn.Sequential(*(_Residual(width, config.groups) for _ in range(2))) for width in widths
        )
        self.down = nn.ModuleList(nn.Conv2d(first, second, 3, 2, 1) for first, second in pairwise(widths))
        self.conv_out = nn.ModuleList(nn.Conv2d(width, width, 1) for width in widths)
        for parameter in self.conv_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, photos: Tensor) -> list[Tensor]:
        """Of latents [B, C, h, w]: a tensor for each level, [B, channels, h / 2^level, w / 2^level]."""
        seen, found = self.conv_in(photos), []
        for number, level in enumerate(self.levels):
            seen = level(seen)
            found.append(self.conv_out[number](seen))
            if number < len(self.down):
                seen = self.down[number](seen)
        return found


class _Residual(nn.Module):
    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(groups, width) for _ in range(2))
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for norm, layer in zip(self.norms, self.layers, strict=True):
            seen = layer(F.silu(norm(seen)))
        return x + seen


def controlled(
    control: ControlNetModel,
    inputs: Tensor,
    step: Tensor,
    prompt: Tensor,
    labels: Tensor | None,
    photo: Tensor,
) -> dict[str, Any]:
    """Arguments of the denoiser; `photo` is a latent [B or 1, C, h, w], the rest as the denoiser gets it."""
    down, middle = control(
        inputs, step, prompt, photo.expand(len(inputs), -1, -1, -1), class_labels=labels, return_dict=False
    )
    return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}


def added(levels: Sequence[Tensor], count: int) -> dict[str, Any]:
    """Arguments of the denoiser for a batch of `count`; `levels` of `ConvolutionalEncoder`, [B or 1, ...]."""
    return {"down_intrablock_additional_residuals": [x.expand(count, -1, -1, -1) for x in levels]}
