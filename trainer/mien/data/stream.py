"""The stream of training micro-batches and the stream of evaluation batches of one rank.

The order is `mien.data.order`; loading is torch's DataLoader, whose workers get requests (epochs and indices
of one micro-batch) from the main process and return collated batches in the order asked. Nothing about the
content depends on workers, prefetch or world size, and the only state is the number of samples consumed.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mien.data.order import Indices, Order, Position, SampleRandom, Share
from mien.data.quarantine import Fault, Quarantine
from mien.data.reader import Sample, ShardSet
from mien.errors import DataError

Item = dict[str, Any]
Batch = dict[str, Any]
Transform = Callable[[Sample, np.random.Generator, int], Item]
"""(sample, rng, epoch) -> item; the rng is valid during the call. Raises DataError for a damaged sample."""
Collate = Callable[[list[Item | None]], Batch]
"""Items of a micro-batch, None in place of a damaged sample -> tensors with the same first size."""


@dataclass(frozen=True, slots=True)
class _Request:
    """Samples of one micro-batch; `real` is False where a row only pads."""

    epochs: Indices
    indices: Indices
    real: np.ndarray


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What comes back: the batch, its damaged samples, and an error that ends the run."""

    batch: Batch | None
    faults: list[Fault]
    fatal: DataError | None = None


class _Work(Dataset):
    """Turns a request into a batch; runs in a worker, or in the main process where there are none."""

    def __init__(self, shards: ShardSet, transform: Transform, collate: Collate, seed: int) -> None:
        self.shards = shards
        self.transform = transform
        self.collate = collate
        self.random = SampleRandom(seed)

    def __getitem__(self, request: _Request) -> _Loaded:
        faults: list[Fault] = []
        pairs = zip(request.epochs.tolist(), request.indices.tolist())
        items = [self._item(epoch, index, faults) for epoch, index in pairs]
        try:
            batch = self.collate(items)
        except DataError as error:
            return _Loaded(None, faults, error)
        valid = request.real & np.array([item is not None for item in items])
        batch["valid"] = torch.from_numpy(valid)
        batch["index"] = torch.from_numpy(np.where(valid, request.indices, -1))
        batch["epoch"] = torch.from_numpy(request.epochs)
        return _Loaded(batch, faults)

    def _item(self, epoch: int, index: int, faults: list[Fault]) -> Item | None:
        key = ""
        try:
            sample = self.shards.read(index)
            key = sample.key
            return self.transform(sample, self.random.at(epoch, index), epoch)
        except DataError as error:
            faults.append(Fault(index, self.shards.shard_of(index), key, str(error)))
            return None


def _loader(
    work: _Work, requests: Any, workers: int, prefetch: int, pin: bool, *, keep: bool = False
) -> DataLoader[_Loaded]:
    """A loader of requests that never touches the global random state; `keep`: workers outlive a pass.

    Neither `work` nor `requests` may refer back to the stream: a cycle would leave the workers to the garbage
    collector, and from there the loader fails to tell them to end and waits for seconds.
    """
    return DataLoader(
        work,
        batch_size=None,
        sampler=requests,
        num_workers=workers,
        collate_fn=_same,
        pin_memory=pin,
        prefetch_factor=prefetch if workers else None,
        persistent_workers=keep and workers > 0,
        worker_init_fn=_quiet_signals if workers else None,
        generator=torch.Generator(),  # else each pass draws from the global one, and resume is not exact
    )


class Stream:
    """Endless (or `steps` long) training micro-batches of this rank, each a dict of tensors.

    Epochs follow each other without a gap, a batch may straddle two. Every batch has, beside what `collate`
    makes: `valid` bool [B] (False: a damaged sample), `index` int64 [B] (position in the set, -1 where not
    valid) and `epoch` int64 [B]. Iterating again starts again at `start`.

    Args:
        shards: the set.
        transform: see `Transform`; its rng is keyed by (seed, epoch, sample).
        collate: see `Collate`.
        seed: of order and augmentation, in [0, 2^32).
        global_batch: samples of an optimiser step over all ranks; divisible by accumulate x world.
        accumulate: micro-batches a rank sums into one step.
        rank: of this process.
        world: number of processes.
        start: samples consumed before, over all ranks: the whole state.
        steps: optimiser steps to yield; None never ends.
        workers: loader processes; 0 loads in this process.
        prefetch: micro-batches each worker holds ready.
        shuffle_block: shards that are shuffled together.
        quarantine: counts damaged samples.
        pin: copy batches to page-locked memory (CUDA).

    Raises:
        DataError: at construction for a batch that does not divide; while iterating, beyond the quarantine's
            share.
    """

    def __init__(
        self,
        shards: ShardSet,
        transform: Transform,
        collate: Collate,
        *,
        seed: int,
        global_batch: int,
        accumulate: int = 1,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        steps: int | None = None,
        workers: int = 0,
        prefetch: int = 4,
        shuffle_block: int = 8,
        quarantine: Quarantine | None = None,
        pin: bool = False,
    ) -> None:
        self.shards = shards
        self.share = Share(global_batch, accumulate, rank, world)
        self.start = start
        self.steps = steps
        self.order = Order(shards.sizes, seed, shuffle_block)
        self.quarantine = quarantine or Quarantine(None, sha=shards.sha, size=len(shards), fraction=0.0)
        work = _Work(shards, transform, collate, seed)
        requests = _TrainRequests(self.order, self.share, start, steps)
        self._loader = _loader(work, requests, workers, prefetch, pin)

    def __len__(self) -> int:
        if self.steps is None:
            raise TypeError("an endless stream has no length")
        return self.steps * self.share.accumulate

    def __iter__(self) -> Iterator[Batch]:
        for loaded in self._loader:
            self.quarantine.record(loaded.faults)
            yield _open(loaded)

    def close(self) -> None:
        """End the workers; call it when done, else the process waits seconds for them at its end."""
        self._loop.close()

    def position(self, steps: int = 0) -> Position:
        """Where the stream is after that many optimiser steps since `start`."""
        return Position(self.start + steps * self.share.global_batch, len(self.shards))


@dataclass(frozen=True, slots=True)
class _TrainRequests:
    order: Order
    share: Share
    start: int
    steps: int | None

    def __iter__(self) -> Iterator[_Request]:
        real = np.ones(self.share.micro, dtype=bool)
        for first, last in self.share.spans(self.start, self.steps):
            yield _Request(*self.order.slice(first, last), real)


class EvalStream:
    """Every sample of a set once, in index order, in equal batches on every rank.

    Batch b of all ranks together is samples [b B W, (b + 1) B W), rank r has the r-th part. Rows that only
    fill the last batches repeat the last sample with `valid` False and `index` -1, so every rank has the same
    number of batches. The rng of `transform` is keyed by (seed, 0, sample). Can be iterated again; workers
    stay.

    Args:
        shards: the set.
        transform: see `Transform`.
        collate: see `Collate`.
        batch: samples of a batch of one rank.
        rank: of this process.
        world: number of processes.
        workers: loader processes.
        prefetch: batches each worker holds ready.
        seed: in [0, 2^32).
        quarantine: if None, the first damaged sample raises: a result over a part of a set is no result.
        pin: copy batches to page-locked memory (CUDA).

    Raises:
        DataError: while iterating, for a damaged sample, or beyond the quarantine's share.
    """

    def __init__(
        self,
        shards: ShardSet,
        transform: Transform,
        collate: Collate,
        *,
        batch: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        prefetch: int = 4,
        seed: int = 0,
        quarantine: Quarantine | None = None,
        pin: bool = False,
    ) -> None:
        self.shards = shards
        self.batch = Share(batch * world, 1, rank, world).micro
        self.rank = rank
        self.world = world
        self.quarantine = quarantine
        work = _Work(shards, transform, collate, seed)
        requests = _EvalRequests(len(shards), self.batch, rank, world, len(self))
        self._loader = _loader(work, requests, workers, prefetch, pin, keep=True)

    def __len__(self) -> int:
        return math.ceil(len(self.shards) / (self.batch * self.world))

    def __iter__(self) -> Iterator[Batch]:
        for loaded in self._loader:
            if self.quarantine is not None:
                self.quarantine.record(loaded.faults)
            elif loaded.faults:
                raise DataError(loaded.faults[0].reason)
            yield _open(loaded)


@dataclass(frozen=True, slots=True)
class _EvalRequests:
    size: int
    batch: int
    rank: int
    world: int
    batches: int

    def __iter__(self) -> Iterator[_Request]:
        for number in range(self.batches):
            first = (number * self.world + self.rank) * self.batch
            rows = np.arange(first, first + self.batch, dtype=np.int64)
            yield _Request(np.zeros_like(rows), np.minimum(rows, self.size - 1), rows < self.size)


def _open(loaded: _Loaded) -> Batch:
    if loaded.batch is None:
        raise loaded.fatal or AssertionError("a load without batch and error")
    return loaded.batch


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
