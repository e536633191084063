"""Checkpoints written beside the loop, which waits for almost nothing.

Weights, moments and averages change in the optimiser's step only. So a thread copies them to host memory
while the loop computes its next forward and backward pass, and the loop waits for the copy at its next
optimiser step, if it is not done by then (the idea of CheckFreq, Mohan et al., FAST 2021). What changes
earlier is copied at once. Then the thread serialises, hashes and syncs. Copies go to buffers that are kept
from checkpoint to checkpoint (page-locked where the state is on a GPU), so no memory is faulted in anew.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

_ALONE = 2**15  # elements: ATen's grain; it shares out what is more among OpenMP threads


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
        if _on_gpu():
            torch.cuda.current_stream().synchronize()  # copies from the GPU are only queued
        return copied

    def _copy(self, tree: Any, place: tuple[str | int, ...]) -> Any:
        if isinstance(tree, Tensor):
            buffer = self._buffers.get(place)
            if buffer is None or buffer.shape != tree.shape or buffer.dtype != tree.dtype:
                buffer = torch.empty(tree.shape, dtype=tree.dtype, pin_memory=tree.is_cuda)
                self._buffers[place] = buffer
            self._used.add(place)
            _copy_alone(tree.detach(), buffer)
            return buffer
        if isinstance(tree, dict):
            return {key: self._copy(value, (*place, key)) for key, value in tree.items()}
        if isinstance(tree, list | tuple):
            items = [self._copy(value, (*place, number)) for number, value in enumerate(tree)]
            return items if isinstance(tree, list) else tuple(items)
        return tree


def _copy_alone(source: Tensor, target: Tensor) -> None:
    """Copy by the calling thread alone.

    A thread that asks OpenMP for help gets helpers of its own, which stay. With more threads than CPUs GNU's
    OpenMP lets all of them sleep between operations, those of the loop, too: each of its small products then
    waits for a thread to wake, and a tiny model trains at half its speed from the first checkpoint on.
    """
    if source.is_cuda or source.numel() <= _ALONE:
        target.copy_(source, non_blocking=True)
    elif source.ndim == 1 or source.is_contiguous():
        for part, place in zip(source.view(-1).split(_ALONE), target.view(-1).split(_ALONE), strict=True):
            place.copy_(part)
    else:
        for part, place in zip(source, target, strict=True):
            _copy_alone(part, place)


class BackgroundWriter:
    """Runs one write at a time in a thread of its own; its error is raised by the next call.

    A write holds the buffers of the copy, so a second one waits for the first. An interpreter that ends waits
    for it too.
    """

    def __init__(self) -> None:
        self._now, self._later = HostCopy(), HostCopy()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint-writer")
        # The thread starts here, not at the first checkpoint: the loader's handler of a dead worker raises
        # wherever the main thread is, and a thread whose start it interrupts nobody could end.
        self._thread.submit(int).result()
        self._copied: Future[Any] | None = None
        self._under_way: Future[None] | None = None

    def submit(self, now: Any, later: Any, write: Callable[[Any, Any], None]) -> None:
        """Call `write` with copies of two trees, later.

        Args:
            now: copied before this returns.
            later: copied in the thread; must not change until `settle` has returned.
            write: called in the thread.

        Raises:
            RunError: of the write before.
        """
        self.wait()
        taken = self._now(now)
        if _on_gpu():
            ready = torch.cuda.current_stream().record_event()
            copied = self._thread.submit(self._copy_on_gpu, later, ready, torch.cuda.current_device())
        else:
            copied = self._thread.submit(self._later, later)
        self._copied = copied
        self._under_way = self._thread.submit(lambda: write(taken, copied.result()))

    def _copy_on_gpu(self, tree: Any, ready: torch.cuda.Event, device: int) -> Any:
        """In the thread, in a stream of its own, after what was queued before `ready`."""
        stream = torch.cuda.Stream(device)
        stream.wait_event(ready)
        with torch.cuda.stream(stream):
            return self._later(tree)

    def settle(self) -> None:
        """Until what was submitted may change."""
        copied, self._copied = self._copied, None
        if copied is not None:
            copied.result()

    def wait(self) -> None:
        """Until the write under way has ended.

        Raises:
            RunError: if it failed.
        """
        done, self._under_way, self._copied = self._under_way, None, None
        if done is not None:
            done.result()

    @property
    def busy(self) -> bool:
        """Whether a write is under way."""
        return self._under_way is not None and not self._under_way.done()

    def check(self) -> None:
        """Without waiting.

        Raises:
            RunError: if a write has failed.
        """
        if not self.busy:
            self.wait()


def _on_gpu() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_initialized()
