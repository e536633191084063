"""MagicFace's networks, as a recipe describes them."""

from __future__ import annotations

from mien.systems.editing import start
from mien.systems.editing.model import Editor
from mien.systems.magicface.config import MagicFaceModel

NAME = "magicface"


def build(config: MagicFaceModel) -> Editor:
    """Editor to train; errors as of `start.build`."""
    return start.build(config, NAME)
