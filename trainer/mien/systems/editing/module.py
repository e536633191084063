"""An editor in training: noise drawn by sample, features of the photo, error of the prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from mien.errors import RunError
from mien.optim import decay_groups, inner_groups
from mien.systems.base import Batch, SystemModule
from mien.systems.editing.codec import Codec, open_codec
from mien.systems.editing.config import CodecConfig, EditObjective, EditorModel
from mien.systems.editing.judge import Judge
from mien.systems.editing.latents import places
from mien.systems.editing.model import Editor
from mien.systems.editing.noise import Draw, alphas, cleaned, draw, error, goal, noised, weights
from mien.systems.editing.pair_samples import as_pixels
from mien.systems.ranks import mean_count

if TYPE_CHECKING:
    from mien.recipe import Recipe

_BLOCKS = (ResnetBlock2D, BasicTransformerBlock, Downsample2D, Upsample2D)
_ENDS = ("conv_in.", "conv_out.", "class_embedding.")
_VALIDATION_STEP = -1  # its draws are the same at every validation


class Seen(NamedTuple):
    """Latents of a micro batch."""

    photo: Tensor
    """[B, C, h, w], clean, as the identity network takes it."""
    maps: Tensor
    """[B, maps * C, h, w]."""
    target: Tensor
    """[B, C, h, w], scaled."""


class Told(NamedTuple):
    """What the denoiser says of a micro batch, and what it should have said."""

    predicted: Tensor
    """[B, C, h, w], as `wanted` and `noisy`."""
    wanted: Tensor
    noisy: Tensor
    alpha: Tensor
    """[B]: see `noise.noised`."""
    weight: Tensor
    """Of the places, [B, 1, h, w]."""
    keep: Tensor
    """bool [B]: who was told the edit."""


class EditModule(SystemModule):
    """Both networks of an editor; a system names the maps of its batches.

    Args:
        recipe: the run's recipe.
        editor: the networks.
        codec: how pictures become latents.
        maps: names of the condition pictures in a batch, in the order in which the denoiser takes them.
    """

    alpha: Tensor

    def __init__(self, recipe: Recipe, editor: Editor, codec: CodecConfig, maps: tuple[str, ...]) -> None:
        super().__init__(recipe)
        assert isinstance(recipe.objective, EditObjective)
        self.objective = recipe.objective
        if editor.residual is not None and recipe.objective.noise.prediction != "sample":
            fix = "set objective.noise.prediction=sample"
            raise RunError("only a clean latent differs from the photo", where="model.unet.residual", fix=fix)
        self.model = editor
        self.codec: Codec = open_codec(codec)
        self.maps = maps
        judge = recipe.objective.judge
        self.judge = None if judge is None else Judge(judge)
        self.register_buffer("alpha", alphas(self.objective.noise).float(), persistent=False)

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """Weighted error of what the denoiser says of the target, at each sample's own time step."""
        noise = self.objective.noise
        drawn = draw(noise, self.recipe.seed, step, batch["uid"].tolist(), self.latent_shape)
        told = self.predict(batch, drawn)
        loss = error(told.predicted, told.wanted, told.weight, batch["valid"])
        if self.judge is None:
            return loss, {}
        if "src" not in batch:
            fix = "train on the pairs, or set objective.judge=null"
            raise RunError(
                "the set holds latents, and a judge looks at pictures", where="objective.judge", fix=fix
            )
        clean = cleaned(noise, told.predicted, told.noisy, told.alpha)
        made = self.codec.decode(clean / self.codec.target_scale)
        total, judged = self._judged(self.judge, batch, made.float(), told.keep)
        return loss + total, {"latents": loss, **judged}

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w)."""
        model = self.recipe.model
        assert isinstance(model, EditorModel)
        side = model.image_size // model.codec.factor
        return model.unet.latent_channels, side, side

    def predict(self, batch: Batch, drawn: Draw) -> Told:
        """Both networks on a micro batch, with noise and steps as drawn."""
        seen = self.latents(batch)
        noise = self.objective.noise
        at, keep = drawn.step.to(seen.target.device), drawn.keep.to(seen.target.device)
        epsilon = drawn.noise.to(seen.target)
        alpha = self.alpha[at]
        vector = batch["vector"].to(seen.target) * keep[:, None]
        bank = self.model.features(seen.photo)
        noisy = noised(seen.target, epsilon, alpha)
        predicted = self.model.noise(noisy, seen.maps, at, vector, bank)
        weight = self._places(batch, seen.target) * weights(noise, alpha)[:, None, None, None]
        return Told(predicted, goal(noise, seen.target, epsilon, alpha), noisy, alpha, weight, keep)

    def _judged(
        self, judge: Judge, batch: Batch, made: Tensor, keep: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean grade over the samples that were told what to edit, and each reading's error, 0-d."""
        told = (batch["valid"] & keep).float()
        count = mean_count(told.sum())

        def mean(values: Tensor) -> Tensor:
            return (values * told).sum() / count

        errors = judge(as_pixels(batch["src"]), made, as_pixels(batch["tgt"]))
        total = mean(judge.weighed(errors))
        return total, {f"judged_{name}": mean(error) for name, error in errors.items()}

    def latents(self, batch: Batch) -> Seen:
        """Of the pictures of a batch, or as they were made ahead."""
        if "photo" in batch:
            photo, joined, target = (batch[name].float() for name in ("photo", "maps", "target"))
            return Seen(photo, joined, target * self.codec.target_scale)
        photo, *maps, target = (
            self.codec.encode(as_pixels(batch[name])) for name in ("src", *self.maps, "tgt")
        )
        return Seen(photo, torch.cat(maps, 1), target * self.codec.target_scale)

    def _places(self, batch: Batch, like: Tensor) -> Tensor:
        """Weight of each place of the latents, [B, 1, h, w]: more where the face is, and where it changes."""
        told = self.objective
        if told.face_weight == 1 and not told.change_weight:
            return like.new_ones(len(like), 1, *like.shape[2:])
        if "change" in batch:
            share, change = batch["face"], batch["change"]
        else:
            share, change = places(batch["src"], batch["tgt"], batch["face"], like.shape[2])
        of_face = 1 + (told.face_weight - 1) * share.to(like)
        return of_face * (1 + told.change_weight * change.to(like))

    @torch.no_grad()
    def validation_logs(self, batch: Batch, step: int) -> Mapping[str, Tensor | float]:
        """The loss with the same draws at every validation."""
        return {"loss": self.loss(batch, _VALIDATION_STEP)[0]}

    def param_groups(self) -> list[dict[str, Any]]:
        """The denoiser at the recipe's rate, the identity network at `identity_lr` times it."""
        groups = inner_groups(self.model.identity, _ENDS, self.objective.identity_lr)
        groups += inner_groups(self.model.denoiser, _ENDS)
        for part in (self.model.to_map, self.model.near):
            groups += [] if part is None else decay_groups(part)
        return groups

    def blocks(self) -> list[nn.Module]:
        """ResNet blocks, transformer blocks and changes of resolution of both networks.

        Not whole levels: hidden states leave the identity network from within one, and FSDP2 gathers weights
        for the backward pass where the gradient of a block's own output arrives.
        """
        return [
            part
            for unet in (self.model.identity, self.model.denoiser)
            for part in unet.modules()
            if isinstance(part, _BLOCKS)
        ]

    def pictures(self, batch: Batch, count: int) -> Tensor | None:
        """Source, conditions and target of each sample, side by side."""
        shown = [batch[name] for name in ("src", *self.maps, "tgt") if name in batch]
        return torch.cat(shown, 3)[:count] if shown else None
