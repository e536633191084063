"""Where the time goes between the start of the process and the end of its first step, by part."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mien.engine.rundir import RunFolder, process_birth

log = logging.getLogger("mien.engine")


class StartUp(Callback):
    """Marks the parts of a start; after the first step they are in `run.json`, at this session, in seconds.

    `imports`: from the start of the process until training is called. `sets`: the sets are open. `run`: the
    ranks have joined and agreed on run and checkpoint, which was verified. `model`: it is built. `trackers`:
    they are there. `strategy`: the model is wrapped and on its device. `restore`: the checkpoint is taken up.
    `batch`: the loader has started and the first batch is here. `step`: the first step is done.
    """

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self._last = time.monotonic() - process_age()
        self._folder: RunFolder | None = None

    def mark(self, part: str) -> None:
        """A part ends."""
        now = time.monotonic()
        self.parts[part] = round(self.parts.get(part, 0.0) + now - self._last, 4)
        self._last = now

    def report_to(self, folder: RunFolder | None) -> None:
        """Where to write the parts; None on all ranks but the first."""
        self._folder = folder

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """The model is on its device."""
        self.mark("strategy")

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Everything is as it was at the checkpoint."""
        self.mark("restore")

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The first batch is here."""
        if "batch" not in self.parts:
            self.mark("batch")

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The first micro batch is done; that of a step of several counts for the step."""
        if "step" in self.parts:
            return
        self.mark("step")
        if self._folder is not None:
            self._folder.note(startup=self.parts)
            words = ", ".join(f"{part} {seconds:.2f}" for part, seconds in self.parts.items())
            log.info("first step %.2f s after the start: %s", sum(self.parts.values()), words)


def process_age() -> float:
    """Seconds since this process started, to a hundredth; 0 where the system does not tell."""
    born = process_birth(os.getpid())
    if born is None:
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - born / os.sysconf("SC_CLK_TCK"))
