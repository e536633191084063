"""When and what a run saves: one object between the step boundary and the checkpoint store."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from lightning.pytorch import Trainer

from mien.engine.rundir import RunFolder
from mien.engine.snapshot import Snapshot
from mien.engine.store_io import Saving, StoreIO
from mien.errors import RunError

if TYPE_CHECKING:
    from mien.recipe import Recipe

log = logging.getLogger("mien.engine")


class Saver:
    """Saves checkpoints of a run, each step once.

    Args:
        recipe: the run's recipe.
        folder: the run's folder.
        rank: this process.
        start: steps done before.
    """

    def __init__(self, recipe: Recipe, folder: RunFolder, rank: int, start: int) -> None:
        self.recipe = recipe
        self.folder = folder
        self.rank = rank
        self.step = start
        """Of the newest checkpoint."""
        self._seconds = 0.0
        self._io: StoreIO | None = None

    def attach(self, trainer: Trainer, snapshot: Snapshot) -> None:
        """Before the first step, once the strategy is there."""
        assert isinstance(trainer.strategy.checkpoint_io, StoreIO)
        self._trainer, self._snapshot, self._io = trainer, snapshot, trainer.strategy.checkpoint_io

    def save(self, step: int, *, best: bool, leaving: bool) -> None:
        """Save a checkpoint of this step; on all ranks at once. `leaving` waits until it is on disk.

        Raises:
            RunError: if one cannot be written.
        """
        began, engine, snapshot = time.perf_counter(), self.recipe.engine, self._snapshot
        if self.step != step:
            facts = {"consumed": step * engine.global_batch, "recipe_hash": self.recipe.hash}
            keep, every = engine.keep_last, engine.checkpoint_every
            how = Saving(facts, keep, every, best, snapshot.pieces(), self.rank, snapshot.writers)
            path = self.folder.store.path(step)
            self._trainer.save_checkpoint(path, weights_only=False, storage_options=how)
            self.step = step
        if leaving:
            self.wait()
        self._seconds += time.perf_counter() - began

    def settle(self) -> None:
        """Until weights may change."""
        assert self._io is not None
        began = time.perf_counter()
        self._io.settle()
        self._seconds += time.perf_counter() - began

    def check(self) -> None:
        """Whether all is well so far.

        Raises:
            RunError: if something saved could not be written.
        """
        assert self._io is not None
        self._io.check()

    def wait(self) -> None:
        """Until what was saved is on disk.

        Raises:
            RunError: if it could not be written.
        """
        assert self._io is not None
        self._io.wait()

    def seconds(self) -> float:
        """Seconds that the loop has waited since the last call."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def close(self) -> None:
        """As `wait`, where the run is leaving already, and for a reason of its own."""
        if self._io is not None:
            try:
                self._io.wait()
            except RunError as error:
                log.error("%s", error)
