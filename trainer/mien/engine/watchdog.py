"""A run that stands still is ended: every rank writes where its threads stand, then leaves.

When one rank hangs, the others wait for it in a collective, so all of them stop making steps and the watch of
each expires. It lies outside the interpreter (`faulthandler`), so neither a held lock nor a collective that
never returns can keep it from firing.
"""

from __future__ import annotations

import faulthandler
from pathlib import Path
from typing import IO

from mien.engine.signals import StopSignals


class Watchdog:
    """Ends the process, with exit code 1, when `beat` was not called for too long.

    Args:
        seconds: how long; None watches nothing.
        file: receives the stacks of all threads; there afterwards only if the watch fired.
        signals: after a stop signal their own watch over the save counts, and this one keeps still.
    """

    def __init__(self, seconds: float | None, file: Path, signals: StopSignals) -> None:
        self.seconds = seconds
        self.file = file
        self.signals = signals
        self._stacks: IO[str] | None = None

    def beat(self) -> None:
        """The run moves: start the watch anew."""
        if self.seconds is None or self.signals.pending:
            return
        if self._stacks is None:
            self._stacks = self.file.open("a", encoding="utf-8")
        faulthandler.dump_traceback_later(self.seconds, exit=True, file=self._stacks)

    def close(self) -> None:
        """End the watch."""
        if self._stacks is None:
            return
        if not self.signals.pending:
            faulthandler.cancel_dump_traceback_later()
        self._stacks.close()
        self._stacks = None
        if self.file.exists() and not self.file.stat().st_size:
            self.file.unlink()
