"""Pictures to latents and back: exact patches, a real autoencoder from a folder, folders that hold none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from mien.errors import RunError
from mien.systems.editing.codec import VAE_SCALE, Codec, PatchCodec, load_vae, open_codec
from mien.systems.editing.config import CodecConfig
from mien.systems.editing.face_pairs import draw_frames
from mien.systems.editing.pair_samples import as_pixels
from mien.systems.editing.pair_videos import PairPlan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, sample_size=16,
    ).save_pretrained(tmp_path / "vae")  # fmt: skip
    return tmp_path / "vae"


def test_patches_lose_nothing() -> None:
    codec: Codec = PatchCodec(4)
    pictures = torch.rand(2, 3, 16, 24) * 2 - 1
    latents = codec.encode(pictures)
    assert latents.shape == (2, codec.channels, 4, 6)
    assert torch.equal(codec.decode(latents), pictures)
    assert torch.equal(latents[0, :, 1, 2], pictures[0, :, 4:8, 8:12].reshape(-1))
    with pytest.raises(ValueError, match="18 x 16 pixels are not whole squares of 4"):
        codec.encode(torch.zeros(1, 3, 16, 18))


def test_cosines_keep_what_is_smooth_and_all_if_all_are_kept() -> None:
    config = CodecConfig(kind="cosines", factor=4)
    codec = open_codec(config)
    assert codec.channels == config.channels == 13 + 3 + 3
    down, across = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 24), indexing="ij")
    smooth = torch.stack([down, across, down * across])[None]
    latents = codec.encode(smooth)
    assert latents.shape == (1, codec.channels, 4, 6)
    assert float((codec.decode(latents) - smooth).square().mean().sqrt()) < 0.02
    torch.testing.assert_close(codec.encode(codec.decode(latents)), latents)
    whole = open_codec(CodecConfig(kind="cosines", factor=4, detail=6, colour=6))
    pictures = torch.rand(2, 3, 16, 24) * 2 - 1
    assert whole.channels == 48
    torch.testing.assert_close(whole.decode(whole.encode(pictures)), pictures)
    with pytest.raises(ValueError, match="18 x 16 pixels are not whole squares of 4"):
        codec.encode(torch.zeros(1, 3, 16, 18))


def test_faces_lose_little_in_cosines() -> None:
    plan = PairPlan(2, 32, 0, "builtin", 64, "studio", 100)
    frames = [draw_frames(plan, plan.person(video), np.random.default_rng(video))[0] for video in range(2)]
    pictures = as_pixels(torch.stack([torch.from_numpy(f.picture.image).permute(2, 0, 1) for f in frames]))
    codec = open_codec(CodecConfig(kind="cosines", factor=4))
    lost = codec.decode(codec.encode(pictures)) - pictures
    assert float(lost.square().mean().sqrt()) * 127.5 < 5
    assert 0.3 < float(codec.encode(pictures).square().mean().sqrt()) < 1.2  # noise has 1


def test_an_autoencoder_gives_the_mode_unscaled(folder: Path) -> None:
    codec = load_vae(folder)
    assert (codec.channels, codec.factor, codec.target_scale) == (4, 2, VAE_SCALE)
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1
    latents = codec.encode(pictures)
    torch.testing.assert_close(latents, codec.vae.encode(pictures).latent_dist.mean)
    assert torch.equal(latents, codec.encode(pictures))
    assert codec.decode(latents).shape == pictures.shape
    assert not any(parameter.requires_grad for parameter in codec.vae.parameters())


def test_a_folder_without_an_autoencoder_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no autoencoder here"):
        load_vae(tmp_path)
    weights = folder / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    state["decoder.conv_in.weight"] = torch.zeros(3, 3)
    save_file(state, weights)
    with pytest.raises(RunError, match="cannot be read"):
        load_vae(folder)
    weights.write_bytes(b"not safetensors")
    with pytest.raises(RunError, match="cannot be read"):
        load_vae(folder)
