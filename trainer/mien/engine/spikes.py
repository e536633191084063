"""Loss spikes: a step whose loss lies far above those before it is noted, skipped, or taken back.

Taking back follows Chowdhery et al. (PaLM, 2022, section 5.1): weights, moments and average return to the
newest regular checkpoint, while the data go on behind the batch that spiked. The step counter and the
schedule go on too, so that samples consumed stay a function of the step; a resumed run meets the same spike
and does the same.
"""

from __future__ import annotations

import json
import statistics
from collections import deque
from pathlib import Path
from typing import Any

from mien.engine.config import SpikeConfig
from mien.errors import RunError

_TO_SIGMA = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""
_FLOOR = 1e-3
"""Smallest spread that counts, as a share of the median: a loss that stands still spikes at nothing."""


class SpikeDetector:
    """Compares the loss of each step, the same on every rank, with the median of those before.

    Args:
        config: the threshold and what to do.
        ledger: JSON-lines file; only rank 0 writes to it.
    """

    def __init__(self, config: SpikeConfig, ledger: Path) -> None:
        self.config = config
        self.ledger = ledger
        self.spikes = 0
        self.rollbacks = 0
        self._before: deque[float] = deque(maxlen=config.window)

    def sees(self, loss: float) -> bool:
        """Whether this loss is a spike; one that is not joins those that later ones are compared with."""
        if len(self._before) == self.config.window:
            middle = statistics.median(self._before)
            spread = _TO_SIGMA * statistics.median(abs(value - middle) for value in self._before)
            if loss > middle + self.config.threshold * max(spread, _FLOOR * abs(middle)):
                return True
        self._before.append(loss)
        return False

    def note(self, entry: dict[str, Any], *, write: bool) -> None:
        """Count a spike.

        Args:
            entry: step, loss and uids.
            write: whether this rank writes the ledger.

        Raises:
            RunError: if it was to be taken back and too many were.
        """
        self.spikes += 1
        self.rollbacks += self.config.action == "rollback"
        if write:
            facts = {**entry, "median": statistics.median(self._before), "action": self.config.action}
            with self.ledger.open("a", encoding="utf-8") as file:
                file.write(json.dumps(facts) + "\n")
        if self.rollbacks > self.config.max_rollbacks:
            what = f"the loss spiked again after {self.config.max_rollbacks} rollbacks"
            fix = "look at the samples listed there, or lower engine.optimizer.lr"
            raise RunError(f"{what} (engine.spike.max_rollbacks)", where=self.ledger, fix=fix)

    def state_dict(self) -> dict[str, Any]:
        """Plain types."""
        return {"spikes": self.spikes, "rollbacks": self.rollbacks, "before": list(self._before)}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restore what `state_dict` gave; a window of another length keeps the newest losses."""
        self.spikes, self.rollbacks = saved["spikes"], saved["rollbacks"]
        self._before.clear()
        self._before.extend(saved["before"])
