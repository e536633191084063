"""MagicFace's networks, as a recipe describes them."""

from __future__ import annotations

from torch import Tensor

from mien.systems.editing.model import Editor
from mien.systems.editing.start import read_prompt, start_alike, start_from
from mien.systems.magicface.config import MagicFaceModel


def build(config: MagicFaceModel, *, start: bool = True, prompt: Tensor | None = None) -> Editor:
    """Editor of the recipe's size.

    Args:
        config: the recipe's `model`.
        start: whether to read `init_from`; without, weights are random and of no use but to be replaced.
        prompt: states [1, T, W] in place of those of the recipe's file.

    Raises:
        RunError: if starting weights or the prompt cannot be used.
    """
    if prompt is None:
        prompt = read_prompt(config.prompt, config.unet.prompt_width)
    side = config.image_size // config.codec.factor
    editor = Editor(config.unet, config.condition, prompt, side)
    if config.checkpointing:
        editor.identity.enable_gradient_checkpointing()
        editor.denoiser.enable_gradient_checkpointing()
    if start and config.unet.alike is not None:
        start_alike(editor, config.unet.alike)
    if start and config.init_from:
        start_from(editor, config.init_from, "magicface", config.unet)
    return editor
