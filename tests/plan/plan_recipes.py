"""Recipes small enough to be counted and run in a second."""

from mien import recipe as recipes

SMALL = (
    "model.image_size=32",
    "model.tiny.widths=[8,8,16,16]",
    "model.tiny.embed=16",
    "model.tiny.vocabulary_width=8",
    "model.tiny.text_width=16",
    "model.tiny.text_heads=2",
    "engine.global_batch=32",
    "engine.accelerator=auto",
)


def small(*overrides):
    return recipes.load("emocapclip/tiny", [*SMALL, *overrides])
