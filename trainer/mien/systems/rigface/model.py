"""RigFace's networks, as a recipe describes them."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from mien.engine.rundir import RunFolder
from mien.errors import RunError
from mien.systems.editing.model import Editor
from mien.systems.editing.released import RELEASES
from mien.systems.editing.start import read_prompt, start_alike, start_from
from mien.systems.rigface.config import RigFaceModel


def build(config: RigFaceModel, *, start: bool = True, prompt: Tensor | None = None) -> Editor:
    """Editor of the recipe's size.

    Args:
        config: the recipe's `model`.
        start: whether to read `init_from`; without, weights are random and of no use but to be replaced.
        prompt: states [1, T, W] in place of those of the recipe's file.

    Raises:
        RunError: if starting weights or the prompt cannot be used, or the weights read another backend.
        DataError: if tensors of the starting weights do not fit.
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
        _check_backend(config, Path(config.init_from))
        start_from(editor, config.init_from, "rigface", config.unet)
    return editor


def _check_backend(config: RigFaceModel, folder: Path) -> None:
    """Shapes alone would not tell: rigs of one width draw heads that look different."""
    theirs: str | None = None
    if (folder / "recipe.yaml").is_file():
        model = RunFolder.open(folder).recipe.model
        theirs = model.backend if isinstance(model, RigFaceModel) else None
    elif any((folder / place).is_dir() for place in RELEASES["rigface"].identity):
        theirs = "bfm64"
    if theirs is not None and theirs != config.backend:
        what = f"these weights read backend {theirs}, the recipe says {config.backend}"
        raise RunError(what, where=folder, fix=f"set model.backend to {theirs}, or start from other weights")
