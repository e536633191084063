"""The files of one checkpoint's folder: their bytes and checksums, and what lies in them."""

from __future__ import annotations

import hashlib
import json
import pickle
import time
from pathlib import Path
from typing import Any

import torch

from mien.engine.pieces import PART, PartFiles
from mien.errors import RunError

PATIENCE_S = 900.0
"""Seconds that the first rank waits for the parts of the others."""


def stated(file: Path) -> dict[str, Any]:
    """Bytes and sha256 of a file, as a manifest states them."""
    return {"bytes": file.stat().st_size, "sha256": _digest(file)}


def collect(aside: Path, world: int) -> dict[str, dict[str, Any]]:
    """Bytes and sha256 of each rank's part, once all are written; their notes are removed.

    Raises:
        RunError: if one does not come within `PATIENCE_S`.
    """
    deadline = time.monotonic() + PATIENCE_S
    found: dict[str, dict[str, Any]] = {}
    for rank in range(world):
        file = aside / PART.format(rank=rank, world=world)
        note = file.with_suffix(".json")
        while not note.is_file():
            if time.monotonic() > deadline:
                what = f"rank {rank} did not write its part of the checkpoint in {PATIENCE_S:.0f} s"
                raise RunError(what, where=aside, fix="see what it said, then --resume")
            time.sleep(0.02)
        found[file.name] = json.loads(note.read_text(encoding="utf-8"))
        note.unlink()
    return found


def verify(file: Path, stated: Any, fix: str) -> None:
    """Compare a file with what its manifest states.

    Raises:
        RunError: if it is absent, cut short or changed; ends with `fix`.
    """
    try:
        size = file.stat().st_size
    except OSError as error:
        raise RunError(f"checkpoint is incomplete: {error}", where=file.parent, fix=fix) from error
    if not isinstance(stated, dict) or size != stated.get("bytes"):
        expected = stated.get("bytes") if isinstance(stated, dict) else stated
        raise RunError(f"{file.name} has {size} bytes, not {expected}", where=file.parent, fix=fix)
    if _digest(file) != stated.get("sha256"):
        raise RunError(f"{file.name} does not match its sha256", where=file.parent, fix=fix)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_state(folder: Path) -> dict[str, Any]:
    """What lies in a checkpoint's folder: its state, and its `PartFiles` under `parts`.

    Nothing but tensors and plain types is unpickled.

    Raises:
        RunError: if a file holds anything else, or cannot be read.
    """
    try:
        state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(
            f"checkpoint cannot be read: {reason}", where=folder, fix="choose another one"
        ) from error
    if not isinstance(state, dict) or "mien" not in state:
        raise RunError("not a checkpoint of mien", where=folder, fix="choose another one")
    return state | {"parts": PartFiles(folder.glob("part-*.safetensors"))}
