"""Parameter groups, clamps, the table of systems and the checks of a recipe."""

from __future__ import annotations

import math

import pytest
import torch
from emocap_batches import batch_of, module_of
from pydantic import ValidationError

from mien import systems
from mien.engine.holdings import Replicated
from mien.errors import RunError
from mien.systems.emocapclip.config import LocalConfig, MiningConfig, ModelConfig, ObjectiveConfig


def test_groups_hold_every_trainable_weight_once():
    module = module_of()
    grouped = [id(p) for group in module.param_groups() for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in module.parameters() if p.requires_grad)


def test_no_decay_on_temperatures_norms_and_embeddings():
    module = module_of()
    free = {id(p) for g in module.param_groups() if g.get("weight_decay") == 0.0 for p in g["params"]}
    names = [name for name, p in module.model.named_parameters() if id(p) in free]
    for part in (
        "log_scale",
        "local_log_scale",
        "positional_embedding",
        "ln_1.bias",
        "norm1.weight",
        "token_embedding.0",
    ):
        assert any(part in name for name in names), part
    assert not any(name.endswith(("in_proj_weight", "conv1.weight")) for name in names)
    assert "text.text.token_embedding.1.weight" not in names


def test_both_temperatures_are_clamped():
    module = module_of()
    with torch.no_grad():
        module.model.log_scale.fill_(9.0)
        module.model.local_log_scale.fill_(-3.0)
    Replicated(module, torch.optim.SGD(module.parameters())).clamp(module.bounds())
    assert module.model.log_scale.item() == pytest.approx(math.log(100))
    assert module.model.local_log_scale.item() == 0


@pytest.mark.parametrize(
    ("branch", "frozen"),
    [
        ("none", {"local_norm", "local_projection", "local_log_scale"}),
        ("cls", {"local_norm", "local_projection"}),
        ("group", set()),
    ],
)
def test_weights_that_no_loss_reaches_are_frozen(branch, frozen):
    model = module_of(branch=branch).model
    assert {name.split(".")[0] for name, p in model.named_parameters() if not p.requires_grad} == frozen


def test_training_learns_to_tell_a_batch_apart():
    module, batch = module_of(branch="group"), batch_of(9)
    optimizer = torch.optim.AdamW(module.param_groups(), lr=3e-3)
    losses = []
    for step in range(30):
        optimizer.zero_grad()
        loss, _ = module.loss(batch, step)
        loss.backward()
        optimizer.step()
        Replicated(module, optimizer).clamp(module.bounds())
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_the_local_loss_does_not_reach_the_global_head():
    module = module_of(branch="group", global_weight=0.0, summary_weight=0.0)
    module.loss(batch_of(9), 0)[0].backward()
    assert not module.model.image.projection.grad.any()
    assert module.model.local_projection.weight.grad.abs().sum() > 0
    assert not module.model.log_scale.requires_grad


def test_unknown_system_names_the_nearest():
    assert systems.get("emocapclip").name == "emocapclip"
    with pytest.raises(RunError, match="did you mean 'emocapclip'"):
        systems.get("emocap")


@pytest.mark.parametrize(
    ("model", "keys", "message"),
    [
        (ModelConfig, {"tower": "ViT-B-23"}, "did you mean 'ViT-B-32'"),
        (ModelConfig, {"image_size": 60}, "multiple of 8"),
        (ModelConfig, {"image_size": 64, "weights": "openai"}, "init_from"),
        (ModelConfig, {"tower": "ViT-B-32", "weights": "openai", "init_from": "x"}, "either"),
        (ModelConfig, {"tiny": {"text_width": 30}}, "multiple of text_heads"),
        (
            ObjectiveConfig,
            {"global_weight": 0, "summary_weight": 0, "local": {"weight": 0}},
            "nothing to train on",
        ),
        (
            ObjectiveConfig,
            {"global_weight": 0, "summary_weight": 0, "mining": {"rule": "text"}},
            "whole captions",
        ),
        (ObjectiveConfig, {"mining": {"rule": "cross", "source": "guide"}}, "needs source online"),
        (ObjectiveConfig, {"mining": {"rule": "text", "source": "guide"}}, "guide_width"),
        (ObjectiveConfig, {"scale": 60, "max_scale": 50}, "above max_scale"),
    ],
)
def test_impossible_sections_are_explained(model, keys, message):
    with pytest.raises(ValidationError, match=message):
        model.model_validate(keys)


def test_every_key_is_documented():
    for model in (ModelConfig, ObjectiveConfig, LocalConfig, MiningConfig):
        for name, field in model.model_fields.items():
            nested = isinstance(field.default, LocalConfig | MiningConfig) or name == "tiny"
            assert field.description or nested, f"{model.__name__}.{name}"


def test_guidance_from_files_is_used():
    mining = MiningConfig(rule="text", source="guide", guide_width=5, threshold=0.5)
    module, batch = module_of(branch="none", mining=mining), batch_of(9)
    batch["guide"] = torch.randn(9, 1, 5)
    batch["guide"][3] = torch.nan
    one = module.loss(batch, 5)[0].item()
    batch["guide"] = torch.randn(9, 1, 5)
    other = module.loss(batch, 5)[0].item()
    assert math.isfinite(one)
    assert math.isfinite(other)
    assert one != other
