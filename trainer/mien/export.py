"""A run for use outside mien: its weights in one file, or a folder that another library loads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mien import systems
from mien.engine.rundir import RunFolder
from mien.errors import MienError, RunError

FORMATS = ("safetensors", "open_clip", "transformers", "onnx", "diffusers")
"""`safetensors` is one file with mien's own names; the others are folders with a model card."""
FACTS = "export.json"
"""File of an exported folder that says where it comes from; only folders that hold it are ever replaced."""

Say = Callable[[str], None]


def export(
    run: str | Path,
    out: Path,
    *,
    to: str = "safetensors",
    which: str = "last",
    force: bool = False,
    progress: Say = lambda _: None,
) -> None:
    """Write a run; a reader sees the old file or folder, or the whole new one.

    Averaged weights are taken where the run keeps an average. A folder is checked before it appears: the
    other library loads it, and its embeddings equal mien's to rounding; its weights, of `diffusers`, exactly.

    Args:
        run: run folder.
        out: file (`safetensors`) or folder to write; its parent is made.
        to: one of `FORMATS`.
        which: checkpoint `last`, `best` or a step.
        force: replace what is there; a folder only if an export made it.
        progress: told one line a stage.

    Raises:
        RunError: if the run or checkpoint cannot be used, its model has no form in that format, or `out`
            exists or cannot be written.
        MienError: for an unknown format.
    """
    if to not in FORMATS:
        raise MienError(f"unknown format {to!r}", where="--to", fix=f"one of: {', '.join(FORMATS)}")
    folder = RunFolder.open(run)
    _require_free(out, to, force)
    aside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if to == "safetensors":
            _write_file(folder, which, aside)
        else:
            # The other library may keep the folder's name: it gets its own below `aside`.
            _write_folder(folder, which, to, aside / out.name, progress)
        _move(aside, out, to)
    except OSError as error:
        raise RunError(f"cannot be written: {error.strerror}", where=out, fix="give another path") from error
    finally:
        _remove(aside)


def facts_of(folder: RunFolder, which: str) -> dict[str, str]:
    """Where weights come from: system, recipe and its hash, run, step, code."""
    recipe, info = folder.recipe, folder.info
    return {
        "system": recipe.system,
        "recipe": recipe.name,
        "recipe_sha256": recipe.hash,
        "run": str(info["id"]),
        "step": str(folder.checkpoint(which).step),
        "code_version": str(info.get("code_version", "")),
    }


def _imported(folder: RunFolder) -> dict[str, Any]:
    """`imported`: the release and files (SHA-256) that a run was made of; empty for one that was trained."""
    info = folder.info
    return {"imported": info["imported"]} if "imported" in info else {}


def _write_file(folder: RunFolder, which: str, file: Path) -> None:
    from safetensors.torch import save_file

    weights = systems.get(folder.recipe.system).state_for_export(folder, which)
    # Tied or sliced tensors share memory, which the format refuses.
    tensors = {name: tensor.contiguous().clone() for name, tensor in weights.items()}
    imported = {name: json.dumps(value) for name, value in _imported(folder).items()}
    save_file(tensors, file, {"format": "pt"} | facts_of(folder, which) | imported)


def _write_folder(folder: RunFolder, which: str, to: str, out: Path, progress: Say) -> None:
    from mien.model_card import card

    system = systems.get(folder.recipe.system)
    if to not in system.export_formats or system.export_folder is None:
        known = ", ".join(("safetensors", *system.export_formats))
        raise RunError(f"{system.name} has no form in {to}", where=folder.path, fix=f"one of: {known}")
    out.mkdir(parents=True)
    progress(f"writing {to} and comparing what it loads with mien's")
    facts: dict[str, Any] = (
        {"format": to}
        | facts_of(folder, which)
        | _imported(folder)
        | system.export_folder(folder, which, to, out)
    )
    (out / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    (out / "README.md").write_text(card(folder, which, facts), encoding="utf-8")
    progress(f"largest difference of a number: {facts['max_difference']:.2g}")


def _require_free(out: Path, to: str, force: bool) -> None:
    """Raise RunError unless `out` is free, or may be replaced."""
    if not out.exists() and not out.is_symlink():
        return
    if not force:
        raise RunError("exists already", where=out, fix="give another path, or add --force to replace it")
    if out.is_dir() and (to == "safetensors" or not (out / FACTS).is_file()):
        raise RunError(
            f"is a folder that no export made (it has no {FACTS})", where=out, fix="give another path"
        )
    if out.is_file() and to != "safetensors":
        raise RunError("is a file, and this format is a folder", where=out, fix="give another path")


def _move(aside: Path, out: Path, to: str) -> None:
    if to == "safetensors":
        os.replace(aside, out)
        return
    old = aside / ".old"
    if out.exists():
        os.rename(out, old)
    try:
        os.rename(aside / out.name, out)
    except OSError:
        if old.exists():
            os.rename(old, out)
        raise


def _remove(aside: Path) -> None:
    if aside.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink(missing_ok=True)
