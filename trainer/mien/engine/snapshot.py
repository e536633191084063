"""What a checkpoint holds of the engine's own parts, taken and brought back in one place."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mien.engine import rng
from mien.engine.agree import Agreement
from mien.engine.checkpoint import CheckpointStore
from mien.engine.checkpoint_files import load_state
from mien.engine.ema import Ema
from mien.engine.guard import Guard
from mien.engine.holdings import Holdings, tied
from mien.engine.meters import Speed, Window
from mien.engine.pieces import PartFiles, Piece
from mien.engine.spikes import SpikeDetector

log = logging.getLogger("mien.engine")


class Snapshot:
    """The parts of a run whose state outlives a session.

    Args:
        agreement: the ranks.
        holdings: weights and moments.
        ema: their average, or None.
        guard: counters of skipped steps.
        spikes: losses before, or None.
        window: sums since the last log row.
        speed: productive seconds.
    """

    def __init__(
        self,
        agreement: Agreement,
        holdings: Holdings,
        ema: Ema | None,
        guard: Guard,
        spikes: SpikeDetector | None,
        window: Window,
        speed: Speed,
    ) -> None:
        self.agreement = agreement
        self.holdings = holdings
        self.ema = ema
        self.guard = guard
        self.spikes = spikes
        self.window = window
        self.speed = speed
        self._tied = tied(holdings.module)

    @property
    def writers(self) -> int:
        """How many ranks write a part of a checkpoint."""
        return self.agreement.world if self.holdings.sharded else 1

    def pieces(self) -> dict[str, Piece]:
        """What this rank holds of the large tensors."""
        return self.holdings.pieces() | (self.ema.pieces() if self.ema is not None else {})

    def take(self, step: int, consumed: int, best: float | None) -> dict[str, Any]:
        """The rest, as plain types and small tensors; on all ranks at once.

        Args:
            step: steps done.
            consumed: samples consumed.
            best: best value of the metric that is watched.
        """
        return {
            "step": step,
            "consumed": consumed,
            "world": self.agreement.world,
            "rng": self.agreement.gather(rng.state()),
            "ema": self.ema.updates if self.ema is not None else None,
            "adam_steps": self._adam_steps(),
            "tied": self._tied,
            "guard": self.guard.state_dict(),
            "spikes": self.spikes.state_dict() if self.spikes is not None else None,
            "window": self.window.state_dict(),
            "productive_s": self.speed.productive_s,
            "best": best,
        }

    def bring_back(self, saved: Mapping[str, Any], files: PartFiles, *, seed: int, step: int) -> None:
        """Restore what `take` gave, but for weights and moments, which the strategy has restored.

        Args:
            saved: what it gave, in this or another session.
            files: the checkpoint's.
            seed: the recipe's.
            step: steps done.
        """
        if self.ema is not None:
            self.ema.restore(files, saved["ema"])
        self.guard.load_state_dict(saved["guard"])
        if self.spikes is not None and saved["spikes"] is not None:
            self.spikes.load_state_dict(saved["spikes"])
        self.window.load_state_dict(saved["window"])
        self.speed.productive_s = saved["productive_s"]
        rank = self.agreement.rank
        if len(saved["rng"]) == self.agreement.world:
            rng.restore(saved["rng"][rank])
        else:  # another number of ranks: no generator fits, so begin new ones that depend on the step
            rng.seed(seed, rank=rank, step=step)

    def roll_back(self, store: CheckpointStore, step: int, every: int) -> None:
        """Weights, moments and average of the newest regular checkpoint; on all ranks at once.

        One that a stop signal wrote is passed over: without the signal it would not be there, and a run that
        was stopped must do what an undisturbed one does.

        Args:
            store: the run's, with all checkpoints on disk.
            step: steps done, for the message.
            every: steps between regular checkpoints.
        """
        self.agreement.wait()
        first = self.agreement.rank == 0
        newest = store.newest_valid(every) if first else None
        folder = self.agreement.share(str(newest.path) if newest is not None else None)
        if folder is None:
            if first:
                log.warning("loss spike at step %d: skipped, there is no checkpoint to return to", step)
            return
        saved = load_state(Path(folder))
        self.holdings.restore(saved["parts"], saved["mien"]["adam_steps"])
        if self.ema is not None:
            self.ema.restore(saved["parts"], saved["mien"]["ema"])
        if first:
            log.warning("loss spike at step %d: weights of step %d again", step, saved["mien"]["step"])

    def _adam_steps(self) -> dict[str, float]:
        """AdamW's count for every parameter that has moments anywhere."""
        steps = self.holdings.steps()
        if not self.holdings.sharded:
            return steps
        return {name: step for found in self.agreement.gather(steps) for name, step in found.items()}
