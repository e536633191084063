"""What each way of adapting trains, and that it starts from the tower as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mien.systems.emocapclip.config import ModelConfig, TinyConfig
from mien.systems.emocapclip.finetune.adapt import adapt, blocks_of
from mien.systems.emocapclip.finetune.config import AdaptConfig
from mien.systems.emocapclip.towers import OpenClipImage, build_towers

TINY = ModelConfig(image_size=32, tiny=TinyConfig(widths=(8, 8, 16, 16), embed=12))


def vit() -> nn.Module:
    from open_clip.transformer import VisionTransformer

    torch.manual_seed(0)
    return OpenClipImage(VisionTransformer(32, 16, 24, 3, 4, 4.0, output_dim=12))


def tower(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return build_towers(TINY).image if kind == "tiny" else vit()


def trained(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("kind", ["tiny", "vit"])
@pytest.mark.parametrize("how", ["linear", "lora", "adapter", "full"])
def test_it_starts_as_the_tower_is_and_trains_only_its_own(kind: str, how: str) -> None:
    plain, changed = tower(kind).eval(), tower(kind).eval()
    adapt(changed, AdaptConfig(how=how, rank=2, width=3))
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(changed(images).embedding, plain(images).embedding)
    names = trained(changed)
    if how == "linear":
        assert names == set()
        return
    changed(images).embedding.square().sum().backward()
    moved = {name for name, p in changed.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved <= names
    if how == "full":
        assert len(names) == len(list(plain.parameters()))
        return
    own = ("down", "up") if how == "lora" else ("adapter",)
    assert all(any(part in name for part in own) for name in names)
    blocks = len(blocks_of(changed))
    per_block = sum(name.endswith(".up") or name.endswith("adapter.up.weight") for name in names) / blocks
    assert per_block >= (2 if how == "lora" else 1)
    assert any("up" in name for name in moved)  # `down` follows once `up` has left zero
    assert sum(p.numel() for p in changed.parameters() if p.requires_grad) < sum(
        p.numel() for p in plain.parameters()
    )


def test_a_low_rank_change_has_that_rank_and_scale() -> None:
    changed, plain = vit(), vit()
    adapt(changed, AdaptConfig(how="lora", rank=2, alpha=6))
    attention = blocks_of(changed)[0].attn
    low = attention.parametrizations.in_proj_weight[0]
    torch.nn.init.normal_(low.up)
    difference = attention.in_proj_weight - blocks_of(plain)[0].attn.in_proj_weight
    torch.testing.assert_close(difference, 3 * low.up @ low.down)
    assert torch.linalg.matrix_rank(difference.detach()) == 2
