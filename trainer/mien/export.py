"""Weights of a run for use outside mien."""

from __future__ import annotations

import os
from pathlib import Path

from mien import systems
from mien.engine.rundir import RunFolder
from mien.errors import MienError, RunError

FORMATS = ("safetensors",)


def export(run: str | Path, file: Path, *, to: str = "safetensors", which: str = "last") -> None:
    """Write the weights of a run; a reader sees the old file or the whole new one.

    Args:
        run: run folder.
        file: file to write; its folder is made.
        to: one of `FORMATS`.
        which: checkpoint `last`, `best` or a step.

    Raises:
        RunError: if the run or checkpoint cannot be used, or the file cannot be written.
        MienError: for an unknown format.
    """
    if to not in FORMATS:
        raise MienError(f"unknown format {to!r}", where="--to", fix=f"one of: {', '.join(FORMATS)}")
    from safetensors.torch import save_file

    folder = RunFolder.open(run)
    recipe = folder.recipe
    weights = systems.get(recipe.system).state_for_export(folder, which)
    facts = {
        "format": "pt",
        "system": recipe.system,
        "recipe": recipe.name,
        "recipe_sha256": recipe.hash,
        "run": str(folder.info["id"]),
        "step": str(folder.checkpoint(which).step),
    }
    partial = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Tied or sliced tensors share memory, which the format refuses.
        save_file({name: tensor.contiguous().clone() for name, tensor in weights.items()}, partial, facts)
        os.replace(partial, file)
    except OSError as error:
        raise RunError(f"cannot be written: {error.strerror}", where=file, fix="give another path") from error
    finally:
        partial.unlink(missing_ok=True)
