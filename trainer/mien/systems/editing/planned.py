"""Editors for `mien plan`: both networks, and the autoencoder that makes latents of every picture."""

from __future__ import annotations

from typing import cast

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mien.recipe import Recipe
from mien.systems.base import Batch, SystemModule
from mien.systems.editing.codec import Codec, VaeCodec, open_codec
from mien.systems.editing.config import CodecConfig, EditObjective, EditorModel
from mien.systems.editing.module import EditModule
from mien.systems.editing.noise import STEPS, Draw, error
from mien.systems.editing.pair_samples import MAPS
from mien.systems.planned import Planned

PROMPT = 77
"""Tokens of CLIP's context, which a recipe's prompt has."""

_STABLE = {
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip
"""The autoencoder of Stable Diffusion 1.5."""


def planned(recipe: Recipe, checkpointing: bool) -> Planned:
    """The step of a recipe; a judge, which is a run of its own, is left out."""
    assert isinstance(recipe.model, EditorModel)
    assert isinstance(recipe.objective, EditObjective)
    model = recipe.model
    change = {
        "init_from": None, "prompt": None, "checkpointing": checkpointing,
        "codec": model.codec.model_copy(update={"folder": None}),
    }  # fmt: skip
    bare = recipe.model_copy(
        update={
            "model": model.model_copy(update=change),
            "objective": recipe.objective.model_copy(update={"judge": None}),
        }
    )
    encode = _Encode(model.codec, PROMPT if model.prompt else 1)
    width, maps = model.condition.width, MAPS[recipe.system]
    return Planned(
        bare, lambda rows: batch_of(model.image_size, width, maps, rows), encode, _objective, coupled=False
    )


def batch_of(size: int, width: int, maps: tuple[str, ...], rows: int) -> Batch:
    """What the loader of an editor with these condition pictures makes of `rows` pairs."""
    shape = (rows, 3, size, size)
    pictures = {name: torch.zeros(shape, dtype=torch.uint8) for name in ("src", *maps, "tgt")}
    return {
        **pictures,
        "face": torch.ones(rows, 1, size, size, dtype=torch.uint8),
        "vector": torch.ones(rows, width),
        "uid": torch.arange(rows),
        "index": torch.arange(rows),
        "valid": torch.ones(rows, dtype=torch.bool),
    }


class _Encode:
    """Outputs of the networks, with what the recipe's files would bring: an autoencoder and a prompt.

    Both are made at the first call, where tensors are made as the caller wants them.
    """

    def __init__(self, codec: CodecConfig, tokens: int) -> None:
        self._config, self._tokens = codec, tokens
        self._codec: Codec | None = None if codec.kind == "vae" else open_codec(codec)

    def __call__(self, module: SystemModule, batch: Batch) -> tuple[Tensor, ...]:
        module = cast(EditModule, module)
        if self._codec is None:
            self._codec = VaeCodec(AutoencoderKL(**_STABLE), self._config.target_scale)
        if module.codec is not self._codec:
            module.codec = self._codec
            prompt = module.model.prompt
            module.model.prompt = prompt.new_zeros(1, self._tokens, prompt.shape[2])
        rows = len(batch["uid"])
        drawn = Draw(
            torch.full((rows,), STEPS // 2), torch.zeros(rows, *module.latent_shape),
            torch.ones(rows, dtype=torch.bool),
        )  # fmt: skip
        return (module.predict(batch, drawn).predicted,)


def _objective(module: SystemModule, parts: tuple[Tensor, ...], batch: Batch, step: int) -> Tensor:
    (predicted,) = parts
    weight = predicted.new_ones(len(predicted), 1, *predicted.shape[2:])
    return error(predicted, torch.zeros_like(predicted), weight, batch["valid"])
