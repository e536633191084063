"""The two UNets of an editor, made of diffusers' stock class (magicface and rigface specs, 3 and 7)."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from mien.systems.editing.config import ConditionConfig, UNetConfig
from mien.systems.editing.reference import PassThrough, install

TAIL = ("conv_norm_out", "conv_out")
"""Below the root; with the last transformer block and its `proj_out` all that follows the last state read."""


def identity_unet(config: UNetConfig) -> UNet2DConditionModel:
    """A UNet whose hidden states are read, without what comes after the last of them.

    Its own prediction means nothing. Left in, the tail would be computed for nothing and its parameters would
    never get a gradient, which plain DDP refuses.
    """
    unet = UNet2DConditionModel(**config.arguments())
    trim(unet)
    return unet


def trim(unet: UNet2DConditionModel) -> None:
    """Replace the tail of a UNet by what passes its input on."""
    last = unet.up_blocks[-1].attentions[-1]
    last.transformer_blocks[-1] = PassThrough()
    last.proj_out = nn.Identity()
    unet.conv_norm_out = None
    unet.conv_out = nn.Identity()


def is_tail(name: str, config: UNetConfig) -> bool:
    """Whether a tensor of a whole UNet belongs to the tail that `trim` takes off."""
    last = f"up_blocks.{len(config.channels) - 1}.attentions.{config.layers}"
    places = (*TAIL, f"{last}.transformer_blocks.0", f"{last}.proj_out")
    return name.startswith(tuple(f"{place}." for place in places))


def denoiser(config: UNetConfig, condition: ConditionConfig) -> UNet2DConditionModel:
    """A UNet that attends to a reference and takes conditions as vector and as latents.

    What is new beside a plain UNet starts at zero, so that at first it predicts what that one would.
    """
    given = config.arguments()
    channels = config.latent_channels * condition.maps + (condition.injection == "channel") + config.beside
    plain = given["in_channels"]
    given["in_channels"] = plain + channels
    if condition.injection == "linear":
        given |= {
            "class_embed_type": "simple_projection",
            "projection_class_embeddings_input_dim": condition.width,
        }
    elif condition.injection == "pad":
        given |= {"class_embed_type": "identity"}
    unet = UNet2DConditionModel(**given)
    install(unet)
    with torch.no_grad():
        unet.conv_in.weight[:, plain:] = 0
        if condition.injection == "linear":
            unet.class_embedding.weight.zero_()
            unet.class_embedding.bias.zero_()
    return unet
