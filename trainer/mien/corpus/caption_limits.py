"""Limits that the threads of a captioner share: requests and tokens a minute, pauses a server asks for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class TokenBucket:
    """A bucket that fills at a steady rate; who takes more than it holds waits until it is paid back.

    Threads are served in the order in which they ask, so a large wish is not overtaken for ever.

    Args:
        per_minute: what flows in, > 0; None is no limit.
        burst_s: seconds of flow that the bucket holds, so much may be taken at once.
        clock: monotonic seconds.
        sleep: how to wait, in seconds.
    """

    def __init__(
        self,
        per_minute: float | None,
        burst_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = None if per_minute is None else per_minute / 60
        self._room = 0.0 if self._rate is None else max(1.0, self._rate * burst_s)
        self._level, self._clock, self._sleep = self._room, clock, sleep
        self._seen = clock()
        self._lock = threading.Lock()

    def take(self, amount: float = 1.0) -> float:
        """Take `amount`, waiting as long as the bucket is in debt; returns the seconds waited."""
        if self._rate is None:
            return 0.0
        with self._lock:
            self._fill(self._rate)
            self._level -= amount
            wait = max(0.0, -self._level / self._rate)
        if wait > 0:
            self._sleep(wait)
        return wait

    def correct(self, amount: float) -> None:
        """Take `amount` more without waiting (< 0 gives back), when the true size becomes known."""
        if self._rate is not None:
            with self._lock:
                self._fill(self._rate)
                self._level = min(self._room, self._level - amount)

    def _fill(self, rate: float) -> None:
        now = self._clock()
        self._level = min(self._room, self._level + (now - self._seen) * rate)
        self._seen = now


class Pause:
    """A time before which no thread may send: one server's "later" holds for all.

    Args:
        clock: monotonic seconds.
        sleep: how to wait, in seconds.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._until, self._clock, self._sleep = 0.0, clock, sleep
        self._lock = threading.Lock()

    def ask(self, seconds: float) -> None:
        """Let everybody wait `seconds` from now on."""
        with self._lock:
            self._until = max(self._until, self._clock() + seconds)

    def wait(self) -> None:
        """Wait until the pause is over, however often it is prolonged."""
        while (left := self._until - self._clock()) > 0:
            self._sleep(left)
