"""A place for log rows in a thread of its own: a slow or absent server holds up no step and ends no run."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

log = logging.getLogger("mien.engine")

CLOSE_S = 20.0
"""Seconds that what still waits gets when a session ends; the run folder has it all."""
left_behind: list[str] = []
"""Sinks that did not end in time. Their threads, and what those registered for the end of the interpreter,
may hang for minutes: a program whose work is done should leave by `os._exit`."""
_AGAIN_S, _LONGEST_S = 0.25, 4.0  # between two tries to make a sink, doubling
_WAITING = 10_000  # rows; beyond that the newest news of a dead server are dropped


class Sink(Protocol):
    """A place that takes log rows, pictures and checkpoints."""

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Take one row."""

    def picture(self, step: int, file: Path) -> None:
        """Take a JPEG of training samples."""

    def checkpoint(self, step: int, folder: Path) -> None:
        """Take a checkpoint's folder."""

    def close(self, exit_code: int) -> None:
        """No more in this session."""


Work = Callable[[Sink], None]


class Patient:
    """A sink in a thread of its own; the first of its errors is said, the others are counted.

    Args:
        name: for messages.
        make: builds the sink, in that thread: even to connect may take minutes.
        expected: what the sink raises when its server or disk fails.
    """

    def __init__(
        self, name: str, make: Callable[[], Sink], expected: tuple[type[Exception], ...] = (OSError,)
    ) -> None:
        self.name = name
        self.faults = 0
        self._expected = expected
        self._make = make
        self._queue: queue.Queue[Work | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"{name}-tracker")
        self._thread.start()

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Leave a row; never waits."""
        kept = dict(row)
        self._put(lambda sink: sink.log(step, kept))

    def picture(self, step: int, file: Path) -> None:
        """Leave a picture; never waits."""
        self._put(lambda sink: sink.picture(step, file))

    def checkpoint(self, step: int, folder: Path) -> None:
        """Leave a checkpoint; never waits."""
        self._put(lambda sink: sink.checkpoint(step, folder))

    def close(self, exit_code: int) -> None:
        """Wait for what is left, at most `CLOSE_S`."""
        try:
            self._queue.put_nowait(lambda sink: sink.close(exit_code))
            self._queue.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            left_behind.append(self.name)
            log.warning("%s did not take everything in %.0f s; the run folder has it", self.name, CLOSE_S)

    def _put(self, work: Work) -> None:
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            self._fault(f"{_WAITING} rows wait already")

    def _run(self) -> None:
        sink: Sink | None = None
        pause = _AGAIN_S
        while (work := self._queue.get()) is not None:
            try:
                sink = sink or self._make()
                work(sink)
            except self._expected as error:
                self._fault(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
                if sink is None:  # rows wait meanwhile, so that each does not try at once
                    time.sleep(pause)
                    pause = min(2 * pause, _LONGEST_S)

    def _fault(self, reason: str) -> None:
        self.faults += 1
        if self.faults == 1:
            log.warning("%s cannot take rows (metrics.csv has them): %s", self.name, reason)
