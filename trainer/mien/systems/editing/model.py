"""An editor's networks: features of a photo once, then noise of a latent given conditions and features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.systems.editing.config import ConditionConfig, UNetConfig
from mien.systems.editing.nearness import Nearness
from mien.systems.editing.photos import ConvolutionalEncoder, added, control_network, controlled
from mien.systems.editing.reference import Bank, Pair, blocks, capture, keep_keys, keep_prompt
from mien.systems.editing.unets import denoiser, identity_unet


class Editor(nn.Module):
    """Identity network, denoiser and the states of the one constant prompt.

    Args:
        unet: sizes of both networks.
        condition: how the edit is told.
        prompt: float [1, T, W]: what the text tower made of the prompt; zeros where there is none.
        side: height and width of a latent, which `injection: channel` is made for.
        scale: of denoised latents against the photo's, for a `residual` denoiser.
    """

    prompt: Tensor

    def __init__(
        self,
        unet: UNetConfig,
        condition: ConditionConfig,
        prompt: Tensor,
        side: int | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if prompt.shape[-1] != unet.prompt_width or prompt.ndim != 3 or len(prompt) != 1:
            raise ValueError(f"prompt is [1, T, {unet.prompt_width}], not {[*prompt.shape]}")
        if condition.injection == "channel" and side is None:
            raise ValueError("injection channel makes a map: give the side of a latent")
        self.condition = condition
        self.photo = unet.photo
        self.identity = _identity(unet, condition)
        self.denoiser = denoiser(unet, condition)
        self.residual = scale if unet.tells_differences else None
        if self.residual is not None:  # begins with the photo as it is
            nn.init.zeros_(self.denoiser.conv_out.weight)
            nn.init.zeros_(self.denoiser.conv_out.bias)
        names = [name for name, _ in blocks(self.denoiser)]
        self.near = Nearness(names, unet.heads, unet.near) if unet.near else None
        self.register_buffer("prompt", prompt)
        self.to_map: nn.Module | None = None
        if condition.injection == "channel":
            assert side is not None
            self.to_map = nn.Sequential(
                nn.Linear(condition.width, condition.hidden), nn.SiLU(),
                nn.Linear(condition.hidden, side * side), nn.Unflatten(1, (1, side, side)),
            )  # fmt: skip

    def features(self, photos: Tensor) -> Bank:
        """What the denoiser is given of clean latents [B, C, h, w]."""
        bank = self._features(photos)
        return bank if self.residual is None else replace(bank, latent=photos)

    def _features(self, photos: Tensor) -> Bank:
        if self.photo == "none":
            return Bank()
        if self.photo == "controlnet":
            return Bank(latent=photos)
        if self.photo == "convolutions":
            return Bank(levels=self.identity(photos))
        return capture(self.identity, photos, self.prompt.expand(len(photos), -1, -1))

    def noise(
        self, noisy: Tensor, maps: Tensor, step: Tensor, vector: Tensor, bank: Bank | None,
        prompt: Mapping[str, Pair] | None = None,
    ) -> Tensor:  # fmt: skip
        """Predicted noise [B, C, h, w].

        Args:
            noisy: latents at their time steps, [B, C, h, w].
            maps: condition latents, [B, maps * C, h, w].
            step: time steps, int64 [B] or 0-d.
            vector: the edit, [B, width]; zero is no edit.
            bank: of the photos, for each sample or shared by all; None attends to none.
            prompt: keys and values by `kept`; computed if None.

        Raises:
            ValueError: for a denoiser that tells differences, without what to differ from.
        """
        inputs, labels = [noisy, maps], None
        if self.to_map is not None:
            inputs.append(self.to_map(vector))
        elif self.condition.injection == "pad":
            width = self.denoiser.time_embedding.linear_2.out_features
            labels = F.pad(vector, (0, width - vector.shape[1]))
        else:
            labels = vector
        taken, told = torch.cat(inputs, 1), self.prompt.expand(len(noisy), -1, -1)
        more: dict[str, Any] = {}
        if self.photo == "controlnet" and bank is not None and bank.latent is not None:
            more = controlled(self.identity, taken, step, told, labels, bank.latent)
        elif bank is not None and bank.levels:
            more = added(bank.levels, len(noisy))
        attends = {
            "reference": bank if self.photo == "attention" else None,
            "prompt": prompt,
            "near": self.near,
        }
        photo = None
        if self.residual is not None:
            if bank is None or bank.latent is None:
                raise ValueError("a residual denoiser needs a bank with the photo's latent")
            photo = bank.latent.expand_as(noisy)
            taken = torch.cat([taken, photo], 1)
        result: Tensor = self.denoiser(
            taken, step, told, class_labels=labels, cross_attention_kwargs=attends, return_dict=False, **more
        )[0]
        return result if photo is None or self.residual is None else result + self.residual * photo

    @torch.no_grad()
    def kept(self, photos: Tensor) -> tuple[Bank, dict[str, Pair]]:
        """Keys and values of photos and of the prompt, for many steps and edits."""
        bank = self.features(photos)
        if self.photo == "attention":
            bank = keep_keys(self.denoiser, bank)
        return bank, keep_prompt(self.denoiser, self.prompt)


def _identity(unet: UNetConfig, condition: ConditionConfig) -> Any:
    if unet.photo == "controlnet":
        return control_network(unet, condition)
    if unet.photo == "convolutions":
        return ConvolutionalEncoder(unet)
    return identity_unet(unet) if unet.photo == "attention" else nn.Identity()
