"""RigFace's networks, as a recipe describes them."""

from __future__ import annotations

from pathlib import Path

from mien.engine.rundir import RunFolder
from mien.errors import RunError
from mien.systems.editing import start
from mien.systems.editing.model import Editor
from mien.systems.editing.released import RELEASES, backend_of
from mien.systems.rigface.config import RigFaceModel

NAME = "rigface"


def build(config: RigFaceModel) -> Editor:
    """Editor to train; errors as of `start.build`.

    Raises:
        RunError: also if the starting weights read another backend.
    """
    if config.init_from:
        _check_backend(config, Path(config.init_from))
    return start.build(config, NAME)


def _check_backend(config: RigFaceModel, folder: Path) -> None:
    """Shapes alone would not tell: rigs of one width draw heads that look different."""
    theirs: str | None = None
    if (folder / "recipe.yaml").is_file():
        model = RunFolder.open(folder).recipe.model
        theirs = model.backend if isinstance(model, RigFaceModel) else None
    elif any((folder / place).is_dir() for place in RELEASES[NAME].identity):
        theirs = backend_of(NAME, folder)
    if theirs is not None and theirs != config.backend:
        what = f"these weights read backend {theirs}, the recipe says {config.backend}"
        raise RunError(what, where=folder, fix=f"set model.backend to {theirs}, or start from other weights")
