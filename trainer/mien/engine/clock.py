"""Where the time of a step goes: marks at the borders of its parts, on a GPU by its own clock."""

from __future__ import annotations

import itertools
import statistics
import time
from collections import defaultdict, deque
from typing import Any

import torch

_STEPS = 50


class StepClock:
    """Adds up the time between marks, by the name of the part that ends at a mark.

    On a GPU a mark is an event in its stream, read once a log row is due, so that no step waits for it.

    Args:
        device: where the step computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[tuple[str, Any]] = []
        self._steps: deque[list[tuple[str, Any]]] = deque(maxlen=_STEPS)

    def begin(self) -> None:
        """A micro batch begins: what was since the last mark belongs to no part."""
        self._marks.append(("", self._now()))

    def mark(self, part: str) -> None:
        """A part ends."""
        if self._marks:
            self._marks.append((part, self._now()))

    def step(self) -> None:
        """A step ends."""
        self._steps.append(self._marks)
        self._marks = []

    def row(self) -> dict[str, float]:
        """Median seconds of each part over the last steps: `perf/<part>_s`."""
        if self._cuda and self._steps:
            torch.cuda.synchronize()
        parts: dict[str, list[float]] = defaultdict(list)
        for marks in self._steps:
            sums: dict[str, float] = defaultdict(float)
            for (_, before), (part, after) in itertools.pairwise(marks):
                if part:
                    sums[part] += self._between(before, after)
            for part, seconds in sums.items():
                parts[part].append(seconds)
        return {f"perf/{part}_s": statistics.median(values) for part, values in parts.items()}

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, before: Any, after: Any) -> float:
        return before.elapsed_time(after) / 1000 if self._cuda else after - before
