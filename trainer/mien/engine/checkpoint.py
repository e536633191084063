"""Checkpoints that are whole or absent: written aside, flushed, checksummed, renamed; verified before use.

    checkpoints/step-00000100/state.pt       what Lightning dumps, and `mien`: EMA, RNG of each rank, counters
    checkpoints/step-00000100/manifest.json  sha256, bytes, step, samples consumed, recipe hash, version, time
    checkpoints/latest, checkpoints/best     names of the newest and the best folder, for people and scripts

The pointers are written last and only help to find a folder: what counts is that its manifest verifies.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import pickle
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mien
from mien.engine.rundir import write_atomic
from mien.errors import RunError

log = logging.getLogger("mien.engine")
STEP = re.compile(r"step-(\d{8,})")
"""Names of checkpoint folders."""
_SLACK = 1 << 20


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose manifest verified."""

    path: Path
    step: int
    manifest: dict[str, Any]

    def load(self) -> dict[str, Any]:
        """The state; see `load_state`."""
        return load_state(self.path)

    def weights(self, *, ema: bool = True) -> dict[str, Tensor]:
        """Parameters and buffers by name; averaged ones where `ema` and the run kept an average."""
        state = self.load()
        weights = dict(state["state_dict"])
        average = state["mien"]["ema"] if ema else None
        return weights | average["weights"] if average else weights


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

    def newest_valid(self) -> Checkpoint | None:
        """The newest checkpoint that verifies; says which newer ones it passes over, and why."""
        for step in reversed(self.steps()):
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
            size = (folder / "state.pt").stat().st_size
        except (OSError, ValueError) as error:
            raise RunError(f"checkpoint is incomplete: {error}", where=folder, fix=fix) from error
        if not isinstance(manifest, dict) or manifest.get("step") != step:
            raise RunError("manifest belongs to another step", where=folder, fix=fix)
        if manifest.get("bytes") != size:
            raise RunError(f"state.pt has {size} bytes, not {manifest.get('bytes')}", where=folder, fix=fix)
        if manifest.get("sha256") != _digest(folder / "state.pt"):
            raise RunError("state.pt does not match its sha256", where=folder, fix=fix)
        return Checkpoint(folder, step, manifest)

    def best_step(self) -> int | None:
        """Step that the `best` pointer names, or None."""
        pointer = self.root / "best"
        match = STEP.fullmatch(pointer.read_text(encoding="utf-8").strip()) if pointer.is_file() else None
        return int(match[1]) if match else None

    def write(self, state: dict[str, Any], step: int, facts: dict[str, Any]) -> None:
        """Write a checkpoint; a reader sees all of it or nothing.

        Args:
            state: tensors and plain types.
            step: steps done.
            facts: more entries for the manifest.

        Raises:
            RunError: if the disk has no room or cannot be written.
        """
        final = self.path(step)
        aside = final.with_suffix(".tmp")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(aside, ignore_errors=True)
            self._check_room(state)
            aside.mkdir()
            with (aside / "state.pt").open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            manifest = {
                "step": step,
                "bytes": (aside / "state.pt").stat().st_size,
                "sha256": _digest(aside / "state.pt"),
                "mien": mien.__version__,
                "time": time.time(),
                **facts,
            }
            write_atomic(aside / "manifest.json", json.dumps(manifest, indent=1) + "\n")
            _sync_folder(aside)
            shutil.rmtree(final, ignore_errors=True)
            os.rename(aside, final)
            _sync_folder(self.root)
            write_atomic(self.root / "latest", f"{final.name}\n")
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise RunError(
                f"checkpoint cannot be written: {error.strerror}",
                where=final,
                fix="free space, then --resume",
            ) from error

    def mark_best(self, step: int) -> None:
        """Point `best` at a checkpoint."""
        write_atomic(self.root / "best", f"{self.path(step).name}\n")

    def prune(self, keep: int) -> None:
        """Delete all but the newest `keep` checkpoints and the best one."""
        for step in self.steps()[:-keep]:
            if step != self.best_step():
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

    def _check_room(self, state: dict[str, Any]) -> None:
        need = sum(t.numel() * t.element_size() for t in _tensors(state)) + _SLACK
        free = shutil.disk_usage(self.root).free
        if free < need:
            raise RunError(
                f"no room for a checkpoint: {need >> 20} MiB needed, {free >> 20} MiB free",
                where=self.root,
                fix="free space or set run.root elsewhere, then --resume",
            )


def load_state(folder: Path) -> dict[str, Any]:
    """What lies in a checkpoint's folder, on the CPU; nothing but tensors and plain types is unpickled.

    Raises:
        RunError: if the file holds anything else.
    """
    try:
        state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(
            f"checkpoint cannot be read: {reason}", where=folder, fix="choose another one"
        ) from error
    if not isinstance(state, dict) or not {"state_dict", "mien"} <= state.keys():
        raise RunError("not a checkpoint of mien", where=folder, fix="choose another one")
    return state


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from _tensors(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _tensors(value)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse to sync a folder
            os.fsync(handle)
    finally:
        os.close(handle)
