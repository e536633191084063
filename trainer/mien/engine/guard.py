"""The guard: a step whose loss or gradient is not finite is skipped on all ranks, noted and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mien.engine.config import GuardConfig
from mien.errors import RunError


class Guard:
    """Counts skipped steps and writes down which samples they held.

    Args:
        config: the bounds.
        ledger: JSON-lines file; only rank 0 writes to it.
    """

    def __init__(self, config: GuardConfig, ledger: Path) -> None:
        self.config = config
        self.ledger = ledger
        self.skips = 0
        self.in_a_row = 0

    def passed(self) -> None:
        """Note a step with finite numbers."""
        self.in_a_row = 0

    def skipped(self, entry: dict[str, Any], *, write: bool) -> None:
        """Note a skipped step.

        Args:
            entry: step, loss and gradient norm of each rank, and the uids of the batch.
            write: whether this rank writes the ledger.

        Raises:
            RunError: beyond either bound, on all ranks alike.
        """
        self.skips += 1
        self.in_a_row += 1
        if write:
            with self.ledger.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        bounds = {"max_in_a_row": self.in_a_row, "max_skips": self.skips}
        for key, count in bounds.items():
            if count >= getattr(self.config, key):
                raise RunError(
                    f"{count} steps with a loss or gradient that is not finite (engine.guard.{key})",
                    where=self.ledger,
                    fix="look at the samples listed there, or lower engine.optimizer.lr",
                )

    def state_dict(self) -> dict[str, int]:
        """The counters."""
        return {"skips": self.skips, "in_a_row": self.in_a_row}

    def load_state_dict(self, saved: dict[str, int]) -> None:
        """Restore the counters."""
        self.skips, self.in_a_row = saved["skips"], saved["in_a_row"]
