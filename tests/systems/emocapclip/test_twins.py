"""The twins: same towers, data, steps and seed as tiny.yaml; each learns, and is read by the same encoder."""

from __future__ import annotations

import pytest
import torch
from emocap_batches import batch_of

from mien import recipe as recipes
from mien.engine.holdings import Replicated
from mien.systems.emocapclip.load import EmoCapEncoder
from mien.systems.emocapclip.model import EmoCapCLIP
from mien.systems.emocapclip.module import EmoCapModule
from mien.systems.emocapclip.rows import unit
from mien.systems.weights import load_strictly

TWINS = ("clip", "siglip", "dreamlip", "flair")
TOWERS = (
    "model.image_size=32", "model.tiny.widths=[8,8,16,16]", "model.tiny.embed=16",
    "model.tiny.vocabulary_width=8", "model.tiny.text_width=16", "model.tiny.text_heads=2",
)  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_only_the_objective_differs_from_tiny(name):
    tiny, twin = recipes.load("emocapclip/tiny"), recipes.load(f"emocapclip/twins/{name}")
    for section in ("seed", "model", "data", "engine"):
        assert getattr(twin, section) == getattr(tiny, section), section
    assert twin.objective != tiny.objective


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_learns_and_is_read_through_its_whole_images(name):
    torch.manual_seed(0)
    recipe = recipes.load(f"emocapclip/twins/{name}", TOWERS)
    module, batch = EmoCapModule(recipe), batch_of(9)
    optimizer = torch.optim.AdamW(module.param_groups(), lr=3e-3)
    losses = []
    for step in range(25):
        optimizer.zero_grad()
        loss, _ = module.loss(batch, 0)
        loss.backward()
        optimizer.step()
        Replicated(module, optimizer).clamp(module.bounds())
        losses.append(loss.item())
        assert all(p.grad is not None for p in module.parameters() if p.requires_grad), step
    assert losses[-1] < 0.8 * losses[0]
    model = EmoCapCLIP(recipe.model, recipe.objective)
    load_strictly(model, module.model.state_dict(), name)
    encoder = EmoCapEncoder(model, 32, recipe.objective.local.patches, torch.device("cpu"))
    expected = unit(model.image(model.normalise(batch["img"])).embedding)
    torch.testing.assert_close(encoder.encode_images(batch["img"]), expected)
    assert encoder.encode_texts(["a smile"]).shape == (1, 16)
