"""A few threads for requests that wait on a network; they never keep a process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any


class DaemonPool:
    """Runs calls in `size` daemon threads, first come first served.

    `concurrent.futures` would join its threads at exit, and a loader's worker would wait for a slow server.
    """

    def __init__(self, size: int) -> None:
        self._work: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()
        for _ in range(size):
            threading.Thread(target=_run, args=(self._work,), daemon=True).start()

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """A promise of `call(*arguments)`; it may be cancelled while it waits for its turn."""
        future: Future[Any] = Future()
        self._work.put((future, call, arguments))
        return future


def _run(work: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]]) -> None:
    while True:
        future, call, arguments = work.get()
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call(*arguments))
            except Exception as error:  # noqa: BLE001  # handed to whoever asks for the result
                future.set_exception(error)
