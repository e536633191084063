"""A run that nobody trained here: its folder and one checkpoint, at step 0, made of given weights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mien.engine.pieces import Piece, flattened
from mien.engine.rundir import RunFolder
from mien.errors import RunError

if TYPE_CHECKING:
    from mien.recipe import Recipe


def place(recipe: Recipe, run_id: str) -> Path:
    """Folder of the run of that id.

    Raises:
        RunError: if something is there already.
    """
    path = Path(recipe.run.root) / recipe.name / run_id
    if path.exists():
        raise RunError("exists already, made of the same weights", where=path, fix="use it, or remove it")
    return path


def make(
    recipe: Recipe, run_id: str, weights: Mapping[str, Tensor], imported: Mapping[str, Any]
) -> RunFolder:
    """Write a run; a reader sees all of it or nothing.

    Weights can be read by every command; there is neither a state of an optimiser nor one of a loop, so that
    the run can be started from but not continued (`mien.engine.resume` refuses it).

    Args:
        recipe: what to freeze; its `run.root` and name say where the run lands.
        run_id: name of its folder.
        weights: of the system's module, by name, on the CPU; they are not copied.
        imported: where the weights come from, as JSON; becomes `imported` of `run.json`.

    Raises:
        RunError: if the run exists, or cannot be written.
    """
    final = place(recipe, run_id)
    draft = RunFolder(final.with_name(f".{run_id}.{os.getpid()}.tmp"))
    try:
        draft.lay(recipe)
        part = flattened({f"weights/{name}": Piece.whole(tensor) for name, tensor in weights.items()})
        draft.store.write({"mien": _engine_state()}, part, 0, {"consumed": 0, "recipe_hash": recipe.hash})
        draft.register(recipe, run_id, state="imported", imported=dict(imported))
        os.rename(draft.path, final)
    except OSError as error:
        raise RunError(
            f"cannot be written: {error.strerror}", where=final, fix="give another run root"
        ) from error
    finally:
        shutil.rmtree(draft.path, ignore_errors=True)
    return RunFolder(final)


def _engine_state() -> dict[str, Any]:
    """Of a run before its first step, without an average and without tied weights; see `Snapshot.take`."""
    return {"step": 0, "consumed": 0, "world": 0, "rng": [], "ema": None, "adam_steps": {}, "tied": {}}
