"""Loading of micro-batches: requests go to torch's DataLoader, batches and faults come back in order."""

from __future__ import annotations

import ctypes
import functools
import multiprocessing.connection
import multiprocessing.util
import os
import signal
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mien.data.image_memory import batch_memory
from mien.data.mixture import MixedSet
from mien.data.order import Indices, SampleRandom
from mien.data.quarantine import Fault
from mien.data.reader import Sample, ShardSet
from mien.data.retry import RemoteError
from mien.data.together import TogetherSet
from mien.errors import DataError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_DEATH_S = 5.0

Item = dict[str, Any]
Batch = dict[str, Any]
Transform = Callable[[Sample, np.random.Generator, int], Item]
"""(sample, rng, epoch) -> item; the rng is valid during the call. Raises DataError for a damaged sample."""
Collate = Callable[[list[Item | None]], Batch]
"""Items of a micro-batch, None in place of a damaged sample -> tensors with the same first size."""


@dataclass(frozen=True, slots=True)
class Request:
    """Samples of one micro-batch; `real` is False where a row only pads."""

    epochs: Indices
    indices: Indices
    real: np.ndarray
    ahead: tuple[int, ...] = ()
    """Shards that this request or later ones read; worth fetching where that takes long."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What comes back: the batch, its damaged samples, and an error that ends the run."""

    batch: Batch | None
    faults: list[Fault]
    fatal: DataError | None = None

    def open(self) -> Batch:
        """The batch.

        Raises:
            DataError: what ends the run.
        """
        if self.batch is None:
            raise self.fatal or AssertionError("a load without batch and error")
        return self.batch


class Work(Dataset):
    """Turns a request into a batch; runs in a worker, or in the main process where there are none."""

    def __init__(
        self,
        shards: ShardSet | MixedSet | TogetherSet,
        transform: Transform,
        collate: Collate,
        seed: int,
    ) -> None:
        self.shards = shards
        self.transform = transform
        self.collate = collate
        self.random = SampleRandom(seed)

    def __getitem__(self, request: Request) -> Loaded:
        faults: list[Fault] = []
        pairs = zip(request.epochs.tolist(), request.indices.tolist())
        self.shards.expect(request.indices, request.ahead)
        try:
            with batch_memory(len(request.indices)):
                items = [self._item(epoch, index, faults) for epoch, index in pairs]
            batch = self.collate(items)
        except DataError as error:
            return Loaded(None, faults, error)
        valid = request.real & np.array([item is not None for item in items])
        batch["valid"] = torch.from_numpy(valid)
        batch["index"] = torch.from_numpy(np.where(valid, request.indices, -1))
        batch["epoch"] = torch.from_numpy(request.epochs)
        return Loaded(batch, faults)

    def _item(self, epoch: int, index: int, faults: list[Fault]) -> Item | None:
        key = ""
        try:
            sample = self.shards.read(index)
            key = sample.key
            return self.transform(sample, self.random.at(epoch, index), epoch)
        except RemoteError:
            raise  # the server is gone; the sample is as good as any
        except DataError as error:
            faults.append(Fault(index, self.shards.shard_of(index), key, str(error)))
            return None


class Loop:
    """Passes over requests, one at a time; never touches the global random state.

    Args:
        work: what turns a request into a batch.
        requests: one pass of them; iterated anew for each pass. Like `work`, it may not refer back to whoever
            owns this loop: a cycle would leave the workers to the garbage collector, and from there the
            loader fails to tell them to end and waits for seconds.
        workers: processes; 0 loads in this one.
        prefetch: batches each worker holds ready.
        pin: copy batches to page-locked memory.
        keep: workers outlive a pass.
    """

    def __init__(
        self, work: Work, requests: Iterable[Request], workers: int, prefetch: int, pin: bool, keep: bool
    ) -> None:
        self._make = functools.partial(
            DataLoader,
            work,
            batch_size=None,
            sampler=requests,
            num_workers=workers,
            collate_fn=_same,
            pin_memory=pin,
            prefetch_factor=prefetch if workers else None,
            persistent_workers=keep and workers > 0,
            worker_init_fn=_quiet_signals if workers else None,
        )
        self._loader: DataLoader | None = None
        self._pass: Callable[[], Generator[Loaded, None, None] | None] = _nothing

    def __iter__(self) -> Iterator[Loaded]:
        self._end_pass()
        if self._loader is None:
            _keep_memory()  # workers inherit it
            # A generator of its own: else each pass draws from the global one, and resume is not exact.
            self._loader = self._make(generator=torch.Generator())
        batches = _drain(self._loader)
        self._pass = weakref.ref(batches)
        return batches

    def close(self) -> None:
        """End the pass that is under way, and the workers; another pass starts new ones."""
        self._end_pass()
        self._loader = None

    def _end_pass(self) -> None:
        batches = self._pass()
        if batches is not None:
            batches.close()


def _drain(loader: DataLoader) -> Generator[Loaded, None, None]:
    batches: Any = iter(loader)
    workers = list(getattr(batches, "_workers", ()))
    if workers:
        _workers.update(workers)
        _end_workers_at_exit()
    while True:
        try:
            loaded = next(batches)
        except StopIteration:
            return
        except (ConnectionError, EOFError, FileNotFoundError) as error:
            _tell_of_dead(workers, error)
            raise
        yield loaded


def _tell_of_dead(workers: list[Any], error: Exception) -> None:
    """Raise the loader's own error if a worker is dead: it was killed while its batch was being handed over.

    Its sockets, its sentinel among them, close a moment before it counts as ended.
    """
    ended = multiprocessing.connection.wait([worker.sentinel for worker in workers], timeout=_DEATH_S)
    for worker in workers:
        if worker.sentinel in ended:
            worker.join(_DEATH_S)
    dead = [worker for worker in workers if not worker.is_alive()]
    if dead:
        ends = ", ".join(f"pid {worker.pid}: exit code {worker.exitcode}" for worker in dead)
        raise RuntimeError(f"DataLoader worker ended unexpectedly ({ends})") from error


_workers: weakref.WeakSet[Any] = weakref.WeakSet()


@functools.cache
def _end_workers_at_exit() -> None:
    """End workers that are left when this process ends, which otherwise waits for them.

    The loader asks each once to end, and not even that if another one was killed; but they ignore the first
    SIGTERM, see `_quiet_signals`.
    """
    owner = os.getpid()

    def end() -> None:
        if os.getpid() == owner:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the loader's handler would raise here
            for worker in list(_workers):
                if worker.is_alive():
                    worker.kill()

    multiprocessing.util.Finalize(None, end, exitpriority=100)


def _nothing() -> None:
    return None


@functools.cache
def _keep_memory() -> None:
    """Let the C library keep the memory of freed batches instead of giving it back to the system.

    Otherwise each batch is faulted in page by page anew, a tenth of the time of loading. Only glibc is told.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            libc.mallopt(parameter, 1 << 30)


def _same(loaded: Any) -> Any:
    return loaded


def _quiet_signals(worker: int) -> None:
    """Let loading go on until the main process stops it, though a cluster signals every process of a job.

    Workers ignore what the main process acts on. SIGTERM is ignored once: the second is the loader's own,
    sent to a worker that did not end in time.
    """
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)

    def again(number: int, frame: FrameType | None) -> None:
        os._exit(0)

    def once(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, again)

    signal.signal(signal.SIGTERM, once)
