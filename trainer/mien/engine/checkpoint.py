"""Checkpoints that are whole or absent: written aside, flushed, checksummed, renamed; verified before use.

    checkpoints/step-00000100/state.pt                         loops, schedule, RNG of each rank, counters
    checkpoints/step-00000100/part-00000-of-00004.safetensors  what a rank held of weights, moments, EMA
    checkpoints/step-00000100/manifest.json                    bytes and sha256 of each file, step, ...
    checkpoints/latest, checkpoints/best                       names of the newest and the best folder

Where every rank holds all (one process, DDP) there is one part. The pointers are written last and only help
to find a folder: what counts is that its manifest verifies.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

import mien
from mien.engine import pieces
from mien.engine.checkpoint_files import collect, load_state, stated, verify
from mien.engine.holdings import MOMENTS
from mien.engine.pieces import PART, PartFiles
from mien.engine.rundir import write_atomic
from mien.errors import RunError

log = logging.getLogger("mien.engine")
STEP = re.compile(r"step-(\d{8,})")
"""Names of checkpoint folders."""
Part = tuple[dict[str, Tensor], dict[str, list[Any]]]
"""What a rank writes: the tensors and places that `pieces.flattened` gives."""
_SLACK = 1 << 20


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose manifest verified."""

    path: Path
    step: int
    manifest: dict[str, Any]

    def load(self) -> dict[str, Any]:
        """The state (see `load_state`) and all tensors: `state_dict`, `ema`, and moments as they are kept."""
        state = load_state(self.path)
        files: PartFiles = state.pop("parts")
        found: dict[str, dict[str, Tensor]] = {kind: {} for kind in ("state_dict", "ema", *MOMENTS)}
        for name in files.names():
            kind, _, own = name.partition("/")
            found.setdefault("state_dict" if kind == "weights" else kind, {})[own] = files.whole(name)
        return state | found

    def weights(self, *, ema: bool = True) -> dict[str, Tensor]:
        """Parameters and buffers by name; averaged ones where `ema` and the run kept an average."""
        state = load_state(self.path)
        files: PartFiles = state["parts"]
        names = files.names()
        found = {n.removeprefix("weights/"): files.whole(n) for n in names if n.startswith("weights/")}
        if ema:
            found |= {n.removeprefix("ema/"): files.whole(n) for n in names if n.startswith("ema/")}
        return found | {again: found[first] for again, first in state["mien"]["tied"].items()}


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        root: the run's `checkpoints` folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, step: int) -> Path:
        """Folder of the checkpoint after `step` steps."""
        return self.root / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Steps that have a folder, ascending; contents are not checked."""
        found = [STEP.fullmatch(entry.name) for entry in self.root.iterdir()] if self.root.is_dir() else []
        return sorted(int(match[1]) for match in found if match)

    def find(self, which: str = "last") -> Checkpoint:
        """`last` (the newest that verifies), `best`, or a step number.

        Raises:
            RunError: if there is none, or the one asked for does not verify.
        """
        if which == "last":
            checkpoint = self.newest_valid()
            if checkpoint is None:
                raise RunError("no usable checkpoint", where=self.root, fix="train on, or choose another run")
            return checkpoint
        if which == "best":
            step = self.best_step()
            if step is None:
                raise RunError(
                    "no best checkpoint is marked", where=self.root, fix="set engine.best, or use `last`"
                )
            return self.verify(step)
        if not which.isdecimal():
            raise RunError(
                f"no checkpoint is called {which!r}", where=self.root, fix="use last, best or a step"
            )
        return self.verify(int(which))

    def newest_valid(self, every: int = 1) -> Checkpoint | None:
        """The newest checkpoint that verifies; says which newer ones it passes over, and why.

        Args:
            every: look only at steps that this number divides.
        """
        for step in reversed(self.steps()):
            if step % every:
                continue
            try:
                return self.verify(step)
            except RunError as error:
                log.warning("checkpoint passed over: %s", error)
        return None

    def verify(self, step: int) -> Checkpoint:
        """Compare a checkpoint with its manifest.

        Raises:
            RunError: if a file is absent, cut short or changed.
        """
        folder = self.path(step)
        fix = f"steps here: {', '.join(map(str, self.steps())) or 'none'}"
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"checkpoint is incomplete: {error}", where=folder, fix=fix) from error
        if not isinstance(manifest, dict) or manifest.get("step") != step:
            raise RunError("manifest belongs to another step", where=folder, fix=fix)
        files = manifest.get("files")
        if not isinstance(files, dict) or "state.pt" not in files:
            raise RunError("manifest names no files", where=folder, fix=fix)
        for name, known in files.items():
            verify(folder / Path(name).name, known, fix)
        return Checkpoint(folder, step, manifest)

    def best_step(self) -> int | None:
        """Step that the `best` pointer names, or None."""
        pointer = self.root / "best"
        match = STEP.fullmatch(pointer.read_text(encoding="utf-8").strip()) if pointer.is_file() else None
        return int(match[1]) if match else None

    def write(
        self, state: dict[str, Any], part: Part, step: int, facts: dict[str, Any], world: int = 1
    ) -> None:
        """Write a checkpoint; a reader sees all of it or nothing. The other ranks call `write_part`.

        Args:
            state: plain types and small tensors.
            part: what the first rank holds of the large ones.
            step: steps done.
            facts: more entries for the manifest.
            world: how many ranks write a part.

        Raises:
            RunError: if the disk has no room or cannot be written, or another rank could not write its part.
        """
        final = self.path(step)
        aside = final.with_suffix(".tmp")
        try:
            self.write_part(part, step, 0, world)
            with (aside / "state.pt").open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            manifest = {
                "step": step,
                "bytes": 0,
                "files": {"state.pt": stated(aside / "state.pt")} | collect(aside, world),
                "mien": mien.__version__,
                "time": time.time(),
                **facts,
            }
            manifest["bytes"] = sum(one["bytes"] for one in manifest["files"].values())
            write_atomic(aside / "manifest.json", json.dumps(manifest, indent=1) + "\n")
            _sync_folder(aside)
            shutil.rmtree(final, ignore_errors=True)
            os.rename(aside, final)
            _sync_folder(self.root)
            write_atomic(self.root / "latest", f"{final.name}\n")
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise _unwritten(final, error) from error
        except RunError:
            shutil.rmtree(aside, ignore_errors=True)
            raise

    def write_part(self, part: Part, step: int, rank: int, world: int) -> None:
        """Write what one rank holds; it counts once the first rank has found it and written the manifest.

        Raises:
            RunError: if the disk has no room or cannot be written.
        """
        tensors, places = part
        aside = self.path(step).with_suffix(".tmp")
        file = aside / PART.format(rank=rank, world=world)
        try:
            aside.mkdir(parents=True, exist_ok=True)
            self._check_room(tensors)
            pieces.write(file, tensors, places)
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
            write_atomic(file.with_suffix(".json"), json.dumps(stated(file)))
        except (OSError, SafetensorError) as error:
            raise _unwritten(self.path(step), error) from error

    def mark_best(self, step: int) -> None:
        """Point `best` at a checkpoint."""
        write_atomic(self.root / "best", f"{self.path(step).name}\n")

    def prune(self, keep: int, every: int = 1) -> None:
        """Delete all but the newest `keep` checkpoints, the best one, and the newest that `every` divides."""
        steps = self.steps()
        regular = max((step for step in steps if step % every == 0), default=None)
        for step in steps[:-keep]:
            if step not in (regular, self.best_step()):
                shutil.rmtree(self.path(step))

    def rewind(self, step: int) -> None:
        """Clear what lies beyond the step that a run continues from: torn writes and failed checkpoints.

        Those are renamed to `step-<n>.damaged`, so that they neither count as kept ones nor stand in the way.
        """
        for torn in self.root.glob("step-*.tmp"):
            shutil.rmtree(torn)
        for later in self.steps():
            if later > step:
                damaged = self.path(later).with_suffix(".damaged")
                shutil.rmtree(damaged, ignore_errors=True)
                os.rename(self.path(later), damaged)

    def _check_room(self, tensors: Mapping[str, Tensor]) -> None:
        need = sum(t.numel() * t.element_size() for t in tensors.values()) + _SLACK
        free = shutil.disk_usage(self.root).free
        if free < need:
            raise RunError(
                f"no room for a checkpoint: {need >> 20} MiB needed, {free >> 20} MiB free",
                where=self.root,
                fix="free space or set run.root elsewhere, then --resume",
            )


def _unwritten(final: Path, error: Exception) -> RunError:
    reason = getattr(error, "strerror", None) or str(error)
    return RunError(f"checkpoint cannot be written: {reason}", where=final, fix="free space, then --resume")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse to sync a folder
            os.fsync(handle)
    finally:
        os.close(handle)
