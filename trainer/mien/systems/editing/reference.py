"""Attention of a denoiser to the hidden states of an identity network (magicface spec, sections 3 and 7).

For a block of the denoiser with input h and the reference r that entered the block of the same name:

    a = LN1(h)   p = LN1(r)   h <- h + Wo softmax(Wq a [Wk a ; Wk p]^T / sqrt(d)) [Wv a ; Wv p]

Queries of the reference are never computed: their rows would be dropped. Keys and values of the reference can
be kept, since they change neither with the time step nor with the edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn
from torch.nn import functional as F

from mien.systems.editing.nearness import Nearness, parted

Pair = tuple[Tensor, Tensor]
"""Keys and values, [B, heads, N, d] each."""


class PassThrough(nn.Module):
    """In place of a transformer block whose output nobody reads."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        """`hidden_states`, as they come."""
        return hidden_states


@dataclass(frozen=True)
class Bank:
    """What one photo gives each block: hidden states [B, N, C], or keys and values of them. Of other ways to
    show the photo (`photos.py`): its latent, or a tensor a level.

    B is the batch of the denoiser, or 1: then all its samples share the photo.
    """

    states: Mapping[str, Tensor] = field(default_factory=dict)
    pairs: Mapping[str, Pair] = field(default_factory=dict)
    latent: Tensor | None = None
    levels: Sequence[Tensor] = ()


def blocks(unet: nn.Module) -> Iterator[tuple[str, Any]]:
    """Transformer blocks with their names, in order down, mid, up."""
    found = {
        name: module
        for name, module in unet.named_modules()
        if isinstance(module, (BasicTransformerBlock, PassThrough))
    }
    for part in ("down_blocks.", "mid_block.", "up_blocks."):
        yield from ((name, module) for name, module in found.items() if name.startswith(part))


def capture(unet: UNet2DConditionModel, latents: Tensor, prompt: Tensor) -> Bank:
    """Hidden states that enter each transformer block of an identity network, at time step 0.

    Args:
        unet: the identity network.
        latents: clean latents [B, C, h, w] of the photos.
        prompt: states [B, T, W] of the prompt.
    """
    states: dict[str, Tensor] = {}  # a fresh one for each call: several banks live side by side

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            states[name] = inputs[0]

        return hook

    handles = [module.register_forward_pre_hook(keep(name)) for name, module in blocks(unet)]
    try:
        unet(latents, latents.new_zeros(len(latents)), prompt, return_dict=False)
    finally:
        for handle in handles:
            handle.remove()
    return Bank(states)


class ReferenceAttention:
    """Processor of a block's self-attention that adds keys and values of a `Bank`.

    No nn.Module, so that the norm it needs is not named twice in the state dict.

    Args:
        name: of the block, by which the bank is asked.
        norm: LN1 of the block.
    """

    def __init__(self, name: str, norm: nn.Module) -> None:
        self.name = name
        self.norm = norm

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None, reference: Bank | None = None,
        prompt: Mapping[str, Pair] | None = None, near: Nearness | None = None,
    ) -> Tensor:  # fmt: skip
        """Attention of `hidden_states` [B, N, C], already normalised."""
        query, key, value = (
            _split(layer(hidden_states), attn.heads) for layer in (attn.to_q, attn.to_k, attn.to_v)
        )
        if reference is not None:
            more = reference.pairs.get(self.name)
            if more is None:
                more = self.project(attn, reference.states[self.name])
            key, value = (
                torch.cat([own, other.expand(len(own), -1, -1, -1)], 2)
                for own, other in zip((key, value), more, strict=True)
            )
        if near is None:
            return _finish(attn, F.scaled_dot_product_attention(query, key, value))
        # Squares of distances are more than bfloat16 can tell apart.
        with torch.autocast(query.device.type, enabled=False):
            found = F.scaled_dot_product_attention(*near.joined(self.name, query, key, value))
        return _finish(attn, parted(found).to(query.dtype))

    def project(self, attn: Any, states: Tensor) -> Pair:
        """Keys and values of reference states [B, N, C]."""
        normed = self.norm(states)
        return _split(attn.to_k(normed), attn.heads), _split(attn.to_v(normed), attn.heads)


class PromptAttention:
    """Processor of a block's cross-attention to a prompt whose keys and values may be given."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None, reference: Bank | None = None,
        prompt: Mapping[str, Pair] | None = None, near: Nearness | None = None,
    ) -> Tensor:  # fmt: skip
        """Attention of `hidden_states` [B, N, C] to the states or the pairs of the prompt."""
        query = _split(attn.to_q(hidden_states), attn.heads)
        if prompt is not None:
            key, value = prompt[self.name]
        else:
            assert encoder_hidden_states is not None
            key, value = self.project(attn, encoder_hidden_states)
        key, value = (x.expand(len(query), -1, -1, -1) for x in (key, value))
        return _finish(attn, F.scaled_dot_product_attention(query, key, value))

    def project(self, attn: Any, states: Tensor) -> Pair:
        """Keys and values of prompt states [B, T, W]."""
        return _split(attn.to_k(states), attn.heads), _split(attn.to_v(states), attn.heads)


def install(unet: UNet2DConditionModel) -> None:
    """Give every block of a denoiser the two processors."""
    unet.set_attn_processor(
        {
            f"{name}.{place}.processor": made
            for name, block in blocks(unet)
            for place, made in (
                ("attn1", ReferenceAttention(name, block.norm1)),
                ("attn2", PromptAttention(name)),
            )
        }
    )


@torch.no_grad()
def keep_keys(unet: UNet2DConditionModel, bank: Bank) -> Bank:
    """The bank with keys and values in place of states: for many steps and edits of one photo."""
    pairs = {}
    for name, block in blocks(unet):
        pairs[name] = block.attn1.processor.project(block.attn1, bank.states[name])
    return Bank(pairs=pairs, latent=bank.latent)


@torch.no_grad()
def keep_prompt(unet: UNet2DConditionModel, prompt: Tensor) -> dict[str, Pair]:
    """Keys and values of a constant prompt [1, T, W] for every block."""
    return {name: block.attn2.processor.project(block.attn2, prompt) for name, block in blocks(unet)}


def _split(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _finish(attn: Any, x: Tensor) -> Tensor:
    projection, dropout = attn.to_out
    result: Tensor = dropout(projection(x.transpose(1, 2).flatten(2)))
    return result
