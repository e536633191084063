"""Lightning's door to the checkpoint store, which saves in the loop or beside it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO

from mien.engine.background import BackgroundWriter
from mien.engine.checkpoint import STEP, CheckpointStore, Part
from mien.engine.checkpoint_files import load_state
from mien.engine.pieces import Piece, flattened


@dataclass(frozen=True)
class Saving:
    """How a checkpoint is to be saved: what `trainer.save_checkpoint` hands to `StoreIO`.

    Attributes:
        facts: more entries for the manifest.
        keep: how many checkpoints stay.
        every: steps between regular ones, the newest of which stays too.
        best: whether it is the best one so far.
        pieces: what this rank holds of the run's tensors, by name.
        rank: this process.
        world: how many ranks write a part; 1 where the first one holds everything.
    """

    facts: dict[str, Any]
    keep: int
    every: int = 1
    best: bool = False
    pieces: dict[str, Piece] = field(default_factory=dict)
    rank: int = 0
    world: int = 1

    def own(self) -> dict[str, Piece]:
        """What this rank has to write: its own stretches, and on the first rank what all hold."""
        return {n: piece for n, piece in self.pieces.items() if self.rank == 0 or not piece.shared}


class StoreIO(CheckpointIO):
    """Lightning's door to the store: `trainer.save_checkpoint(store.path(step))` and `fit(ckpt_path=...)`.

    Args:
        background: write beside the loop; see `mien.engine.background`.
    """

    def __init__(self, background: bool = False) -> None:
        self.writer = BackgroundWriter() if background else None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write atomically, then delete what is too old.

        Args:
            checkpoint: the state.
            path: folder as the store names it.
            storage_options: a `Saving`. Its pieces may change after `settle` only, those that are `fleeting`
                at once.
        """
        folder = Path(path)
        match = STEP.fullmatch(folder.name)
        assert match is not None, folder
        assert isinstance(storage_options, Saving)
        step, how, store = int(match[1]), storage_options, CheckpointStore(folder.parent)
        own = how.own()
        tensors, places = flattened(own)

        def write(rest: dict[str, Any], part: Part) -> None:
            if how.rank:
                store.write_part(part, step, how.rank, how.world)
                return
            store.write(rest, part, step, how.facts, how.world)
            if how.best:
                store.mark_best(step)
            store.prune(how.keep, how.every)

        if self.writer is None:
            write(checkpoint, (tensors, places))
            return
        early = {name: tensor for name, tensor in tensors.items() if own[name].fleeting}
        late = {name: tensor for name, tensor in tensors.items() if name not in early}
        self.writer.submit(
            (checkpoint, early), late, lambda now, rest: write(now[0], (now[1] | rest, places))
        )

    def settle(self) -> None:
        """Until what was saved may change, which an optimiser's step does.

        Raises:
            RunError: if it could not be copied.
        """
        if self.writer is not None:
            self.writer.settle()

    def check(self) -> None:
        """Whether all is well so far.

        Raises:
            RunError: if something saved could not be written.
        """
        if self.writer is not None:
            self.writer.check()

    def wait(self) -> None:
        """Until what was saved is on disk.

        Raises:
            RunError: if it could not be written.
        """
        if self.writer is not None:
            self.writer.wait()

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Open the folder, see `load_state`; always with `weights_only`."""
        return load_state(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the folder."""
        shutil.rmtree(path)
