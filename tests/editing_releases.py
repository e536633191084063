"""A release on a small width as its authors name things, a small autoencoder, a recipe of both."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file

from mien.systems.editing.config import UNetConfig
from mien.systems.editing.released import FILES, RELEASES

SMALL = UNetConfig(channels=(32, 32, 64, 64), groups=8, heads=4, prompt_width=32, layers=1)

RECIPE = """
base: {base}
model:
  image_size: 32
  unet: {{channels: [32, 32, 64, 64], groups: 8, heads: 4, prompt_width: 32, layers: 1, latent_channels: 4}}
  codec: {{kind: vae, folder: {vae}, factor: 2, target_scale: 0.18215}}
  prompt: null
  init_from: null
"""


def published(
    name: str, folder: Path, dtype: torch.dtype = torch.float32
) -> dict[str, dict[str, torch.Tensor]]:
    """Write the two files of a release: a whole identity UNet, and a denoiser with `au_aug_mlp`."""
    release = RELEASES[name]
    torch.manual_seed(3)
    identity = UNet2DConditionModel(**SMALL.arguments()).state_dict()
    channels = 4 * (1 + release.condition.maps)
    more = {
        "in_channels": channels, "class_embed_type": "simple_projection",
        "projection_class_embeddings_input_dim": release.condition.width,
    }  # fmt: skip
    plain = UNet2DConditionModel(**SMALL.arguments() | more).state_dict()
    renamed = {key.replace("class_embedding.", "au_aug_mlp."): value for key, value in plain.items()}
    files = {release.identity[0]: identity, release.denoiser[0]: renamed}
    for place, state in files.items():
        (folder / place).mkdir(parents=True)
        save_file(
            {key: value.to(dtype).contiguous() for key, value in state.items()}, folder / place / FILES[0]
        )
    return files


def autoencoder(folder: Path, channels: int = 4) -> Path:
    """A small autoencoder, one place of a latent for 2 x 2 pixels."""
    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=channels, sample_size=16,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def prompt_file(file: Path, width: int = 32) -> Path:
    """States of a prompt, five of them."""
    save_file({"prompt": torch.randn(1, 5, width, generator=torch.manual_seed(1))}, file)
    return file


def small_recipe(file: Path, vae: str = "null", system: str = "magicface") -> Path:
    """The paper's recipe at the width of `SMALL`."""
    from mien.recipe import RECIPES

    file.write_text(RECIPE.format(base=RECIPES / system / "paper.yaml", vae=vae), encoding="utf-8")
    return file
