"""Plans of editors against steps that ran."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL
from torch.utils.flop_counter import FlopCounterMode

from mien import recipe as recipes
from mien.plan.measure import measured, planned
from mien.plan.trace import FORMULAS
from mien.systems.editing.model import Editor
from mien.systems.magicface.config import MagicFaceModel


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("name", ["magicface/tiny", "rigface/tiny"])
def test_plan_agrees_with_a_real_step(name: str, checkpointing: bool) -> None:
    recipe = recipes.load(name)
    plan, real = planned(recipe, 4, checkpointing), measured(recipe, 4, checkpointing)
    assert plan.flops == pytest.approx(real.flops, rel=0.01)
    assert plan.held == pytest.approx(real.held, rel=0.1)
    assert plan.tensors == pytest.approx(real.tensors, rel=0.02)
    assert plan.peak == pytest.approx(real.peak, rel=0.1)


def test_a_judge_is_left_out_and_needs_no_run() -> None:
    plain = planned(recipes.load("magicface/tiny"), 2, False)
    assert planned(recipes.load("magicface/tiny", ["objective.judge.run=absent"]), 2, False) == plain


def test_the_published_autoencoder_encodes_each_picture_and_77_tokens_are_attended_to() -> None:
    small = (
        "model.image_size=64", "model.unet.channels=[32,64]", "model.unet.layers=1", "model.unet.groups=8",
        "model.unet.heads=4", "model.checkpointing=false", "engine.precision=32",
    )  # fmt: skip
    recipe = recipes.load("magicface/paper", small)
    whole = planned(recipe, 2, False).flops
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    model = recipe.model
    assert isinstance(model, MagicFaceModel)
    editor = Editor(model.unet, model.condition, torch.zeros(1, 77, 768))
    latent, step, vector = torch.zeros(2, 4, 8, 8), torch.zeros(2, dtype=torch.int64), torch.zeros(2, 12)
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
        vae.encode(torch.zeros(6, 3, 64, 64))
        of_pictures = counter.get_total_flops()
        editor.noise(latent, latent, step, vector, editor.features(latent))
        of_networks = counter.get_total_flops() - of_pictures
    # Backward costs twice as much, but where what came in needs no gradient, such as the prompt.
    assert 2.4 * of_networks < whole - of_pictures < 3 * of_networks
