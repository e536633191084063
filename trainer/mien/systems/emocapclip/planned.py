"""EmoCapCLIP for `mien plan`: a batch with every sentence there, different and of full length."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from mien.faces.actions import REGIONS
from mien.recipe import Recipe
from mien.systems.base import Batch, SystemModule
from mien.systems.emocapclip.config import ModelConfig, ObjectiveConfig
from mien.systems.emocapclip.module import EmoCapModule
from mien.systems.emocapclip.objective import with_scales
from mien.systems.emocapclip.tokens import CONTEXT
from mien.systems.emocapclip.towers import VOCABULARY
from mien.systems.planned import Planned


def planned(recipe: Recipe, checkpointing: bool) -> Planned:
    """The step of a recipe, with the towers' activations kept or recomputed."""
    assert isinstance(recipe.model, ModelConfig)
    assert isinstance(recipe.objective, ObjectiveConfig)
    change = {"weights": None, "init_from": None, "checkpointing": checkpointing}
    bare = recipe.model_copy(update={"model": recipe.model.model_copy(update=change)})
    size, objective = recipe.model.image_size, recipe.objective
    return Planned(bare, lambda rows: fullest_batch(size, objective, rows), _encode, _objective, coupled=True)


def fullest_batch(image_size: int, objective: ObjectiveConfig, rows: int) -> Batch:
    """What `samples.Collate` would make of `rows` captions whose sentences all fill the context.

    Real captions are shorter and repeat: the tower crops them, so that a real step costs less.
    """
    count, generator = objective.local.sentences, torch.Generator().manual_seed(0)

    def tokens(*shape: int) -> Tensor:
        drawn = torch.randint(1, VOCABULARY - 2, (*shape, CONTEXT), generator=generator, dtype=torch.int32)
        drawn[..., 0], drawn[..., -1] = VOCABULARY - 2, VOCABULARY - 1
        return drawn

    there = torch.ones(rows, dtype=torch.bool)
    batch = {
        "img": torch.randint(
            0, 256, (rows, 3, image_size, image_size), generator=generator, dtype=torch.uint8
        ),
        "tok_g": tokens(rows),
        "tok_s": tokens(rows),
        "tok_l": tokens(rows, count),
        "has_g": there,
        "has_s": there,
        "mask_l": torch.ones(rows, count, dtype=torch.bool),
        "region_l": torch.randint(0, len(REGIONS), (rows, count), generator=generator),
        "lm5": torch.full((rows, 5, 2), torch.nan),
        "uid": torch.arange(rows),
        "grp": torch.full((rows,), -1),
        "valid": there,
        "index": torch.arange(rows),
    }
    mining = objective.mining
    if mining.rule is not None and mining.source == "guide":
        batch["guide"] = torch.rand(rows, mining.guide_rows, mining.guide_width, generator=generator)
    return batch


def _encode(module: SystemModule, batch: Batch) -> tuple[Tensor, ...]:
    encoded = cast(EmoCapModule, module).encode(batch)
    parts = (encoded.image, encoded.global_, encoded.summary, encoded.local)
    return parts if encoded.patches is None else (*parts, encoded.patches)


def _objective(module: SystemModule, parts: tuple[Tensor, ...], batch: Batch, step: int) -> Tensor:
    module = cast(EmoCapModule, module)
    image, global_, summary, local, *patches = parts
    seen = patches[0] if patches else None
    encoded = with_scales(module.model, image, seen, global_, summary, local)
    return module.objective(encoded, batch, step)[0]
