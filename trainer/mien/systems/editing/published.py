"""An editor as published, to compare with: doubled queries, whole identity network (magicface spec 3)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from mien.systems.editing.config import UNetConfig
from mien.systems.editing.model import Editor
from mien.systems.editing.reference import blocks, capture


class Doubled(nn.Module):
    """A block of a denoiser: its tokens and the reference's are joined, all attend, the first half stays.

    Args:
        block: diffusers' block.
        name: under which `bank` holds its reference.
        bank: hidden states by name; filled anew before each pass.
    """

    def __init__(self, block: nn.Module, name: str, bank: dict[str, Tensor]) -> None:
        super().__init__()
        self.block, self.name, self.bank = block, name, bank

    def forward(
        self, hidden_states: Tensor, attention_mask: None = None, encoder_hidden_states: Tensor | None = None,
        **_: Any,
    ) -> Tensor:  # fmt: skip
        """The block's output [B, N, C]."""
        block: Any = self.block
        own, reference = hidden_states.shape[1], self.bank[self.name]
        both = torch.cat([hidden_states, reference.expand(len(hidden_states), -1, -1)], 1)
        both = both + block.attn1(block.norm1(both))
        kept = both[:, :own]
        kept = kept + block.attn2(block.norm2(kept), encoder_hidden_states=encoder_hidden_states)
        result: Tensor = kept + block.ff(block.norm3(kept))
        return result


class PublishedEditor(nn.Module):
    """The same networks and weights as an `Editor`, computed as the authors do.

    Args:
        editor: whose weights are copied.
        unet: sizes of its networks.
    """

    def __init__(self, editor: Editor, unet: UNetConfig) -> None:
        super().__init__()
        self.prompt = editor.prompt
        with editor.prompt.device:
            self.identity = UNet2DConditionModel(**unet.arguments())
        self.identity.load_state_dict(editor.identity.state_dict(), strict=False)  # all but the tail
        self.denoiser = copy.deepcopy(editor.denoiser)
        self.bank: dict[str, Tensor] = {}
        for name, block in list(blocks(self.denoiser)):
            parent: Any = self.denoiser.get_submodule(name.rpartition(".")[0])
            parent[0] = Doubled(block, name, self.bank)

    def features(self, photos: Tensor) -> None:
        """Fill the bank from clean latents [B, C, h, w]; the whole identity network runs."""
        self.bank.clear()
        self.bank.update(capture(self.identity, photos, self.prompt.expand(len(photos), -1, -1)).states)

    def noise(self, noisy: Tensor, maps: Tensor, step: Tensor, vector: Tensor) -> Tensor:
        """As `Editor.noise` with `injection: linear`."""
        result: Tensor = self.denoiser(
            torch.cat([noisy, maps], 1), step, self.prompt.expand(len(noisy), -1, -1), class_labels=vector,
            return_dict=False,
        )[0]  # fmt: skip
        return result
