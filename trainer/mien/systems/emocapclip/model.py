"""The dual encoder: embeddings of images, patches and sentences, and two temperatures (spec section 3)."""

from __future__ import annotations

import math

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from mien.systems.emocapclip.attention import AttentionPool
from mien.systems.emocapclip.config import ModelConfig, ObjectiveConfig
from mien.systems.emocapclip.rows import unit
from mien.systems.emocapclip.towers import ResidualBlock, build_towers

_BIAS = -10.0  # SigLIP's start: with 10 as the scale nearly all pairs begin as the negatives that they are


class EmoCapCLIP(nn.Module):
    """Two towers, a patch head `LN_loc, W_loc` of its own, theta and theta_loc.

    Attributes:
        log_scale: theta, [1]; the logit scale of the global levels is its exponential. Not 0-d, because
            neither FSDP2 nor ZeRO can cut that.
        local_log_scale: theta_loc, [1].
        logit_bias: b of the sigmoid loss, [1]; None for the softmax, so that its weights stay as they were.
        local_logit_bias: b of a sigmoid local level, [1], else None.
        pool: attention pooling of V2, else None.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig, objective: ObjectiveConfig) -> None:
        super().__init__()
        towers = build_towers(config)
        self.image, self.text = towers.image, towers.text
        self.register_buffer("mean", torch.tensor(towers.mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(towers.std).view(3, 1, 1) * 255, persistent=False)
        start = math.log(objective.scale or (10.0 if objective.loss == "sigmoid" else 1 / 0.07))
        if objective.scale is None and towers.log_scale is not None:
            start = float(towers.log_scale)
        self.log_scale = nn.Parameter(torch.tensor([start]))
        self.local_log_scale = nn.Parameter(torch.tensor([math.log(objective.local.scale)]))
        # Fixed for all branches, so that weights move between them; frozen where no loss would reach it.
        self.local_norm, self.local_projection = self._patch_head(config)
        for part in (self.local_norm, self.local_projection):
            part.requires_grad_(objective.local.patches)
        self.local_log_scale.requires_grad_(objective.local.active)
        self.log_scale.requires_grad_(objective.whole or objective.sentences_weight > 0)
        self.logit_bias = _bias(objective.bias) if objective.loss == "sigmoid" else None
        if self.logit_bias is not None:
            self.logit_bias.requires_grad_(self.log_scale.requires_grad)
        self.local_logit_bias = _bias(objective.local.bias) if objective.local_sigmoid else None
        attends = objective.local.active and objective.local.branch == "attn"
        self.pool = AttentionPool(self.local_projection.out_features) if attends else None

    def normalise(self, images: Tensor) -> Tensor:
        """Images uint8 [B, 3, S, S] to CLIP-normalised float32 of the same shape."""
        return (images.float() - self.mean) / self.std

    def see(self, images: Tensor, patches: bool) -> tuple[Tensor, Tensor | None]:
        """Images uint8 [B, 3, S, S] to v [B, D] and, if asked, x [B, P, D]: unit rows float32."""
        seen = self.image(self.normalise(images))
        return unit(seen.embedding), self.project(seen.patches) if patches else None

    def project(self, patches: Tensor) -> Tensor:
        """Patch tokens [B, P, C] to unit rows x = unit(W_loc LN_loc(h)) float32 [B, P, D]."""
        return unit(self.local_projection(self.local_norm(patches)))

    def read(self, tokens: Tensor) -> Tensor:
        """Tokens int [T, 77] to unit rows float32 [T, D]."""
        return unit(self.text(tokens))

    def blocks(self) -> list[nn.Module]:
        """Residual blocks and transformer layers of both towers, in the order of the forward pass."""
        kinds = (ResidualBlock, ResidualAttentionBlock)
        return [
            part for tower in (self.image, self.text) for part in tower.modules() if isinstance(part, kinds)
        ]

    def _patch_head(self, config: ModelConfig) -> tuple[nn.LayerNorm, nn.Linear]:
        """LN_loc and W_loc, copied from the CLS post-norm and projection where the tower has them."""
        norm, projection = self.image.head()
        if isinstance(norm, nn.LayerNorm) and projection is not None:
            own_norm = nn.LayerNorm(norm.normalized_shape, eps=norm.eps)
            own_norm.load_state_dict(norm.state_dict())
            linear = nn.Linear(projection.shape[0], projection.shape[1], bias=False)
            with torch.no_grad():
                linear.weight.copy_(projection.T)
            return own_norm, linear
        with torch.no_grad():
            was = self.image.training
            seen = self.image.eval()(torch.zeros(1, 3, config.image_size, config.image_size))
            self.image.train(was)
        width, embed = seen.patches.shape[-1], seen.embedding.shape[-1]
        return nn.LayerNorm(width), nn.Linear(width, embed, bias=False)


def _bias(start: float | None) -> nn.Parameter:
    return nn.Parameter(torch.tensor([_BIAS if start is None else start]))
