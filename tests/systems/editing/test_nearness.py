"""Attention that falls off with distance, against the plain formula with a bias, and within an editor."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mien.systems.editing.config import ConditionConfig, UNetConfig
from mien.systems.editing.model import Editor
from mien.systems.editing.nearness import Nearness, parted
from mien.systems.editing.reference import blocks

SMALL = UNetConfig(
    channels=(16, 32), layers=1, heads=2, groups=4, prompt_width=8, latent_channels=3, near=(4.0, 0.5)
)


def _distances(side: int) -> torch.Tensor:
    line = torch.arange(side, dtype=torch.float32)
    places = torch.cartesian_prod(line, line)  # row by row
    return torch.cdist(places, places).square()


@pytest.mark.parametrize("grids", [1, 2])
def test_it_is_plain_attention_with_a_bias(grids: int) -> None:
    torch.manual_seed(0)
    near = Nearness(["one.block"], 3, (2.0, 0.3))
    query, key, value = (torch.randn(2, 3, count * 25, 8) for count in (1, grids, grids))
    found = parted(F.scaled_dot_product_attention(*near.joined("one.block", query, key, value)))
    bias = -torch.tensor([2.0, 0.3, 2.0])[:, None, None] * _distances(5).repeat(1, grids)
    want = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5)
    found.sum().backward()
    grad = near.falloff["one_block"].grad
    assert grad is not None
    assert bool((grad != 0).all())
    with pytest.raises(ValueError, match="24 places are no square grid"):
        near.joined("one.block", query[:, :, :24], key[:, :, :24], value[:, :, :24])


def test_an_editor_from_scratch_looks_at_the_same_place_whatever_the_noise() -> None:
    """Half of what its steepest heads see is the photo there, half is itself."""
    torch.manual_seed(0)
    editor = Editor(SMALL, ConditionConfig(width=12), torch.zeros(1, 1, 8))
    photo, noisy = torch.randn(2, 1, 3, 16, 16)
    assert editor.near is not None
    name, block = next(blocks(editor.denoiser))
    seen: list[torch.Tensor] = []
    handle = block.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    bank = editor.features(photo)
    editor.noise(noisy, torch.zeros(1, 3, 16, 16), torch.tensor(999), torch.zeros(1, 12), bank)
    handle.remove()
    own, other = (block.norm1(states) for states in (seen[0], bank.states[name]))
    query, key = (
        layer(states).unflatten(-1, (2, -1)).transpose(1, 2)
        for layer, states in ((block.attn1.to_q, own), (block.attn1.to_k, torch.cat([own, other], 1)))
    )
    query, key, _ = editor.near.joined(name, query, key, key)
    share = (query @ key.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(-1)[0, 0, :, 256:]
    assert float(share.diagonal().mean()) > 0.3
    assert float(share.sum(1).mean()) == pytest.approx(0.5, abs=0.1)


def test_released_sizes_have_none() -> None:
    assert UNetConfig().near == ()
    plain = Editor(SMALL.model_copy(update={"near": ()}), ConditionConfig(width=12), torch.zeros(1, 1, 8))
    assert plain.near is None
