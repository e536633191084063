"""Recipes of paper scale: settings of the specification, networks of the published size (on meta)."""

from __future__ import annotations

import pytest
import torch

from mien import recipe as recipes
from mien.systems.editing.config import EditObjective
from mien.systems.editing.unets import denoiser, identity_unet
from mien.systems.magicface.config import MagicFaceModel

RECIPES = ("magicface/paper", "magicface/h100")


@pytest.mark.parametrize("name", RECIPES)
def test_networks_have_the_published_size(name: str) -> None:
    model = recipes.load(name).model
    assert isinstance(model, MagicFaceModel)
    with torch.device("meta"):
        networks = (denoiser(model.unet, model.condition), identity_unet(model.unet))
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert counts == [859_549_124, 857_065_920]


@pytest.mark.parametrize("name", RECIPES)
def test_settings_are_those_of_the_specification(name: str) -> None:
    recipe = recipes.load(name)
    engine, model, objective = recipe.engine, recipe.model, recipe.objective
    assert isinstance(model, MagicFaceModel)
    assert isinstance(objective, EditObjective)
    assert (engine.max_steps, engine.global_batch, engine.precision) == (100_000, 8, "bf16")
    assert (engine.optimizer.lr, engine.optimizer.betas) == (1e-5, (0.9, 0.999))
    assert (engine.optimizer.weight_decay, engine.clip, engine.ema) == (1e-2, 1.0, 0.9999)
    assert (engine.schedule.kind, engine.schedule.warmup) == ("constant", 500)
    assert (model.image_size, model.mask_mode, model.checkpointing) == (512, "person", True)
    assert (model.codec.kind, model.codec.factor, model.codec.target_scale) == ("vae", 8, 0.18215)
    assert (objective.noise.prediction, objective.noise.drop) == ("epsilon", 0.1)


def test_one_gpu_differs_in_the_layout_alone() -> None:
    four, one = (recipes.load(name).dump() for name in RECIPES)
    assert (four["engine"]["strategy"], four["engine"]["zero"]["stage"]) == ("deepspeed", 2)
    assert (one["engine"]["strategy"], one["engine"]["accumulate"]) == ("auto", 2)
    for tree in (four, one):
        del tree["name"], tree["engine"]["strategy"], tree["engine"]["accumulate"]
    assert four == one
