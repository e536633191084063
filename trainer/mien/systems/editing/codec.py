"""Between pictures and latents: a frozen autoencoder, patches of pixels, or cosines (both specs, 3).

Pictures are float [B, 3, H, W] in -1..1. Latents of photos and of condition maps are the posterior mode
as it is; only the latent that is denoised is scaled. Released weights were trained with this asymmetry.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from mien.errors import RunError
from mien.systems.editing.config import CodecConfig
from mien.systems.editing.cosines import CosineCodec

VAE_SCALE = 0.18215
"""Of Stable Diffusion 1.5: brings its latents to about unit variance."""


class Codec(Protocol):
    """Pictures to latents and back."""

    channels: int
    """Of a latent."""
    factor: int
    """Pixels of a side to one place of a latent."""
    target_scale: float
    """Multiplies the latent that is denoised."""

    def encode(self, pictures: Tensor) -> Tensor:
        """Unscaled latents [B, channels, H / factor, W / factor]."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures of unscaled latents."""
        ...


def open_codec(config: CodecConfig) -> Codec:
    """The codec of a recipe.

    Raises:
        RunError: if its autoencoder cannot be read, or makes other latents than the recipe says.
    """
    if config.kind == "patches":
        return PatchCodec(config.factor)
    if config.kind == "cosines":
        return CosineCodec(config)
    if config.folder is None:
        return NoCodec(config.target_scale)
    codec = load_vae(Path(config.folder), config.target_scale)
    if codec.factor != config.factor:
        fix = f"set model.codec.factor={codec.factor}"
        raise RunError(
            f"this autoencoder makes one place of {codec.factor} pixels", where=config.folder, fix=fix
        )
    return codec


class NoCodec:
    """Where there is no autoencoder: weights can be read and written, no picture."""

    channels = 0
    factor = 0

    def __init__(self, target_scale: float) -> None:
        self.target_scale = target_scale

    def encode(self, pictures: Tensor) -> Tensor:
        """Raises RunError: there is nothing to encode with."""
        fix = "name the folder of the autoencoder"
        raise RunError("pictures, but no autoencoder", where="model.codec.folder", fix=fix)

    decode = encode


class PatchCodec:
    """Squares of pixels as channels: loses nothing, learns nothing; for tiny editors.

    Args:
        factor: side of a square.
    """

    target_scale = 1.0

    def __init__(self, factor: int) -> None:
        self.factor = factor
        self.channels = 3 * factor * factor

    def encode(self, pictures: Tensor) -> Tensor:
        """See `Codec`; raises ValueError where squares do not cover the picture."""
        if pictures.shape[-1] % self.factor or pictures.shape[-2] % self.factor:
            height, width = pictures.shape[-2:]
            raise ValueError(f"{width} x {height} pixels are not whole squares of {self.factor}")
        return F.pixel_unshuffle(pictures, self.factor)

    def decode(self, latents: Tensor) -> Tensor:
        """See `Codec`."""
        return F.pixel_shuffle(latents, self.factor)


class VaeCodec:
    """A frozen KL autoencoder.

    Args:
        vae: trained.
        target_scale: of the denoised latent.
    """

    def __init__(self, vae: AutoencoderKL, target_scale: float = VAE_SCALE) -> None:
        self.vae = vae.eval().requires_grad_(False)
        self.channels = int(vae.config.latent_channels)
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.target_scale = target_scale

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """See `Codec`: the mode, so that a photo always gives the same latent."""
        latents: Tensor = self._beside(pictures).encode(pictures).latent_dist.mode()
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """See `Codec`; gradients pass, for a judge of pictures."""
        pictures: Tensor = self._beside(latents).decode(latents, return_dict=False)[0]
        return pictures

    def _beside(self, tensor: Tensor) -> AutoencoderKL:
        """The autoencoder on the tensor's device."""
        if self.vae.device != tensor.device:
            self.vae.to(tensor.device)
        return self.vae


def load_vae(folder: Path, target_scale: float = VAE_SCALE) -> VaeCodec:
    """The autoencoder of a diffusers folder on disk, safetensors only; nothing is downloaded.

    Raises:
        RunError: if the folder does not hold one.
    """
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        if not (folder / name).is_file():
            raise RunError("no autoencoder here", where=folder / name, fix="give a diffusers folder of a VAE")
    try:
        vae = AutoencoderKL.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise RunError(
            f"the autoencoder cannot be read: {str(error).splitlines()[0]}", where=folder, fix="copy it again"
        ) from error
    return VaeCodec(vae, target_scale)
