"""Checkpoints written beside the loop, which waits for a copy in host memory only.

The copy goes to buffers that are kept from checkpoint to checkpoint (page-locked where the state is on a
GPU), so no memory is faulted in anew. A thread writes: serialising tensors, hashing and syncing all leave the
interpreter to the loop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class HostCopy:
    """Copies a tree of dicts, lists and tensors into buffers of its own, which the next copy overwrites."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str | int, ...], Tensor] = {}
        self._used: set[tuple[str | int, ...]] = set()

    def __call__(self, tree: Any) -> Any:
        """The tree with every tensor copied to the host; other leaves are taken as they are."""
        self._used.clear()
        copied = self._copy(tree, ())
        for place in self._buffers.keys() - self._used:
            del self._buffers[place]
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()  # copies from the GPU are only queued
        return copied

    def _copy(self, tree: Any, place: tuple[str | int, ...]) -> Any:
        if isinstance(tree, Tensor):
            buffer = self._buffers.get(place)
            if buffer is None or buffer.shape != tree.shape or buffer.dtype != tree.dtype:
                buffer = torch.empty(tree.shape, dtype=tree.dtype, pin_memory=tree.is_cuda)
                self._buffers[place] = buffer
            self._used.add(place)
            return buffer.copy_(tree.detach(), non_blocking=True)
        if isinstance(tree, dict):
            return {key: self._copy(value, (*place, key)) for key, value in tree.items()}
        if isinstance(tree, list | tuple):
            items = [self._copy(value, (*place, number)) for number, value in enumerate(tree)]
            return items if isinstance(tree, list) else tuple(items)
        return tree


class BackgroundWriter:
    """Runs one write at a time in a thread of its own; its error is raised by the next call.

    A write holds the buffers of the copy, so a second one waits for the first.
    """

    def __init__(self) -> None:
        self.copy = HostCopy()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def submit(self, state: Any, write: Callable[[Any], None]) -> None:
        """Copy the state and call `write` with the copy, later.

        Raises:
            RunError: of the write before.
        """
        self.wait()
        copied = self.copy(state)
        # not a daemon: an interpreter that ends waits for it
        self._thread = threading.Thread(target=self._run, args=(copied, write), name="checkpoint-writer")
        self._thread.start()

    def wait(self) -> None:
        """Until the write under way has ended.

        Raises:
            RunError: if it failed.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    @property
    def busy(self) -> bool:
        """Whether a write is under way."""
        return self._thread is not None and self._thread.is_alive()

    def check(self) -> None:
        """Without waiting.

        Raises:
            RunError: if a write has failed.
        """
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, state: Any, write: Callable[[Any], None]) -> None:
        try:
            write(state)
        except BaseException as error:  # noqa: BLE001  (handed to the loop, which raises it)
            self._error = error
