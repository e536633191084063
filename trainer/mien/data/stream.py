"""The stream of training micro-batches and the stream of evaluation batches of one rank.

The order is `mien.data.order`; loading is torch's DataLoader, whose workers get requests (epochs and indices
of one micro-batch) from the main process and return collated batches in the order asked. Nothing about the
content depends on workers, prefetch or world size, and the only state is the number of samples consumed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mien.data.loading import Batch, Collate, Loop, Request, Transform, Work
from mien.data.mixture import MixedOrder, MixedSet
from mien.data.order import Order, Position, Share
from mien.data.quarantine import Quarantine
from mien.data.reader import ShardSet
from mien.data.together import TogetherSet
from mien.errors import DataError


class Stream:
    """Endless (or `steps` long) training micro-batches of this rank, each a dict of tensors.

    Epochs follow each other without a gap, a batch may straddle two; the sets of a mixture have epochs of
    their own. Every batch has, beside what `collate`
    makes: `valid` bool [B] (False: a damaged sample), `index` int64 [B] (position in the set, -1 where not
    valid) and `epoch` int64 [B]. Iterating again starts again at `start`.

    Args:
        shards: the set, or a mixture of sets.
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
        shards: ShardSet | MixedSet | TogetherSet,
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
        self.order = shards.order(seed, shuffle_block)
        self.quarantine = quarantine or Quarantine(None, sha=shards.sha, size=len(shards), fraction=0.0)
        work = Work(shards, transform, collate, seed)
        requests = _TrainRequests(self.order, self.share, start, steps, shards.blocks_ahead)
        self._loop = Loop(work, requests, workers, prefetch, pin, keep=False)

    def __len__(self) -> int:
        if self.steps is None:
            raise TypeError("an endless stream has no length")
        return self.steps * self.share.accumulate

    def __iter__(self) -> Iterator[Batch]:
        for loaded in self._loop:
            self.quarantine.record(loaded.faults)
            yield loaded.open()

    def close(self) -> None:
        """End the workers; a pass that is under way ends early. Call it when dropping a pass midway."""
        self._loop.close()

    def position(self, steps: int = 0) -> Position:
        """Where the stream is after that many optimiser steps since `start`.

        Of a mixture, `epoch` counts as many samples as all sets have together.
        """
        return Position(self.start + steps * self.share.global_batch, len(self.shards))


@dataclass(frozen=True, slots=True)
class _TrainRequests:
    order: Order | MixedOrder
    share: Share
    start: int
    steps: int | None
    blocks_ahead: int

    def __iter__(self) -> Iterator[Request]:
        real = np.ones(self.share.micro, dtype=bool)
        for first, last in self.share.spans(self.start, self.steps):
            ahead = self.order.near(last - 1, self.blocks_ahead)
            yield Request(*self.order.slice(first, last), real, ahead)


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
        work = Work(shards, transform, collate, seed)
        requests = _EvalRequests(len(shards), self.batch, rank, world, len(self))
        self._loop = Loop(work, requests, workers, prefetch, pin, keep=True)

    def __len__(self) -> int:
        return math.ceil(len(self.shards) / (self.batch * self.world))

    def __iter__(self) -> Iterator[Batch]:
        for loaded in self._loop:
            if self.quarantine is not None:
                self.quarantine.record(loaded.faults)
            elif loaded.faults:
                raise DataError(loaded.faults[0].reason)
            yield loaded.open()

    def close(self) -> None:
        """End the workers; a pass that is under way ends early. Iterating again starts new ones."""
        self._loop.close()


@dataclass(frozen=True, slots=True)
class _EvalRequests:
    size: int
    batch: int
    rank: int
    world: int
    batches: int

    def __iter__(self) -> Iterator[Request]:
        for number in range(self.batches):
            first = (number * self.world + self.rank) * self.batch
            rows = np.arange(first, first + self.batch, dtype=np.int64)
            yield Request(np.zeros_like(rows), np.minimum(rows, self.size - 1), rows < self.size)
