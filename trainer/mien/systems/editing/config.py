"""Sizes of the two UNets of an editor, and how conditions enter (magicface and rigface specs, section 3)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from mien.config import Config


class UNetConfig(Config):
    """Both UNets; the defaults are those of Stable Diffusion 1.5."""

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    """Channels of the levels, each at half the resolution of the one before; the last has no attention."""
    layers: int = Field(default=2, ge=1)
    """ResNet blocks of a level on the way down; one more on the way up."""
    heads: int = Field(default=8, ge=1)
    """Attention heads of each block."""
    groups: int = Field(default=32, ge=1)
    """Groups of the normalisations."""
    prompt_width: int = Field(default=768, ge=1)
    """Width of the constant prompt's states."""
    latent_channels: int = Field(default=4, ge=1)
    """Channels of a latent: 4 of a VAE, 3 in pixel space."""

    @model_validator(mode="after")
    def _divides(self) -> UNetConfig:
        if len(self.channels) < 2:
            raise ValueError("channels needs at least two levels: the last one has no attention")
        for width in self.channels:
            if width % self.groups or width % self.heads:
                raise ValueError(
                    f"channels {width} must be a multiple of groups {self.groups} and of heads {self.heads}"
                )
        return self

    def arguments(self) -> dict[str, Any]:
        """Of diffusers' `UNet2DConditionModel`."""
        levels = len(self.channels)
        return {
            "in_channels": self.latent_channels,
            "out_channels": self.latent_channels,
            "block_out_channels": self.channels,
            "layers_per_block": self.layers,
            "attention_head_dim": self.heads,  # diffusers calls the number of heads so here
            "norm_num_groups": self.groups,
            "cross_attention_dim": self.prompt_width,
            "down_block_types": ("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
            "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
        }


class ConditionConfig(Config):
    """What tells the denoiser which edit is asked for."""

    width: int = Field(ge=1)
    """Numbers of the condition vector: 12 AU differences, or expression coefficients."""
    maps: int = Field(default=1, ge=0)
    """Condition latents that are joined with the noisy latent: 1 of MagicFace, 2 of RigFace."""
    injection: Literal["linear", "pad", "channel"] = "linear"
    """How the vector enters. `linear`: a linear layer, added to the time embedding (released). `pad`: zeros
    fill it up to the width of the time embedding, and it is added. `channel`: an MLP makes a channel."""
    hidden: int = Field(default=1024, ge=1)
    """`channel`: width of the MLP's hidden layer."""
