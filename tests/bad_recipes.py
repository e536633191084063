"""Kinds of bad recipe: what to write, what to override, and what the one line must say."""

from __future__ import annotations

from dataclasses import dataclass

GOOD = "system: emocapclip\nengine: {max_steps: 4, global_batch: 8}\nmodel: {tower: tiny}\n"


@dataclass(frozen=True)
class BadRecipe:
    """Text of the file (None: there is no file), overrides, and words of the line that is expected."""

    text: str | bytes | None
    words: tuple[str, ...]
    overrides: tuple[str, ...] = ()


BAD_RECIPES: dict[str, BadRecipe] = {
    "no such file": BadRecipe(None, ("no such recipe",)),
    "broken YAML": BadRecipe("system: [emocapclip\n", ("not valid YAML",)),
    "not a mapping": BadRecipe("- system\n- engine\n", ("a recipe is a mapping",)),
    "not text": BadRecipe(b"\xff\xfe\x00system", ("not UTF-8",)),
    "no system": BadRecipe("engine: {max_steps: 4, global_batch: 8}\n", ("names no system", "emocapclip")),
    "unknown system": BadRecipe(
        GOOD.replace("emocapclip", "emocapclp"), ("emocapclp", "did you mean 'emocapclip'?")
    ),
    "unknown section": BadRecipe(GOOD + "optimiser: {lr: 1}\n", ("optimiser", "unknown key")),
    "unknown key": BadRecipe(
        GOOD, ("engine.globl_batch", "did you mean 'engine.global_batch'?"), ("engine.globl_batch=4",)
    ),
    "wrong type": BadRecipe(GOOD, ("engine.max_steps", "'soon'"), ("engine.max_steps=soon",)),
    "out of range": BadRecipe(GOOD, ("engine.ema", "less than 1"), ("engine.ema=1.5",)),
    "not one of the choices": BadRecipe(
        GOOD, ("objective.local.branch", "'grop'"), ("objective.local.branch=grop",)
    ),
    "required key missing": BadRecipe(
        "system: emocapclip\nengine: {max_steps: 4}\n", ("engine.global_batch", "required key is missing")
    ),
    "impossible combination": BadRecipe(
        GOOD, ("global_batch 8", "multiple of accumulate"), ("engine.accumulate=3",)
    ),
    "base does not exist": BadRecipe(
        GOOD + "base: nowhere.yaml\n", ("base file nowhere.yaml does not exist",)
    ),
    "base goes in a circle": BadRecipe(GOOD + "base: recipe.yaml\n", ("goes in a circle",)),
    "broken interpolation": BadRecipe(GOOD + "seed: ${nothing}\n", ("nothing",)),
    "not an override": BadRecipe(
        GOOD, ("'engine.max_steps' is not an override", "key=value"), ("engine.max_steps",)
    ),
    "a section that is a number": BadRecipe(GOOD + "data: 3\n", ("data",)),
    "tower that open_clip does not know": BadRecipe(
        GOOD, ("model.tower", "ViT-B-33"), ("model.tower=ViT-B-33",)
    ),
}
