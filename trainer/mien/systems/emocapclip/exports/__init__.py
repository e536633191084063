"""EmoCapCLIP in the formats of other libraries; every export is compared with mien's own embeddings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mien.engine.rundir import RunFolder
from mien.errors import RunError
from mien.systems.emocapclip.config import ModelConfig
from mien.systems.emocapclip.load import EmoCapEncoder

__all__ = ["write"]


Writer = Callable[[EmoCapEncoder, ModelConfig, Path], dict[str, Any]]


def write(run: RunFolder, which: str, to: str, folder: Path) -> dict[str, Any]:
    """Write the towers of a run into an empty folder and check what the other library makes of it.

    Args:
        run: run folder; averaged weights are taken where it keeps an average.
        which: checkpoint `last`, `best` or a step.
        to: `open_clip`, `transformers` or `onnx`.
        folder: empty, exists.

    Returns:
        Facts of the format: `loads` (how to load it), `max_difference` of the check, and more.

    Raises:
        RunError: if the towers have no form in that format, a library is absent, or the check fails.
    """
    import torch

    from mien.systems.emocapclip.load import load

    model = run.recipe.model
    assert isinstance(model, ModelConfig)
    if model.tower == "tiny" and to != "onnx":
        raise RunError(
            f"the tower `tiny` is mien's own and has no form in {to}",
            where=run.path,
            fix="export it --to onnx or --to safetensors",
        )
    encoder = load(run.path, which, torch.device("cpu"))
    return _writer(to)(encoder, model, folder)


def _writer(to: str) -> Writer:
    if to == "open_clip":
        from mien.systems.emocapclip.exports.as_open_clip import write_open_clip

        return write_open_clip
    if to == "transformers":
        from mien.systems.emocapclip.exports.as_transformers import write_transformers

        return write_transformers
    from mien.systems.emocapclip.exports.as_onnx import write_onnx

    return write_onnx
