"""The order of samples: pure functions of (seed, epoch, set), the same on any number of ranks and workers.

An epoch permutes the shards, cuts that list into blocks of `shuffle_block` shards, and shuffles the samples
within each block. Epochs follow each other without a gap: global position g is sample g mod N of epoch g div
N. Global batch k is the positions [k G, (k+1) G) from the start on; micro-step a takes its a-th part, rank r
the r-th part of that.

Random bits are Philox-4x64 (Salmon et al. 2011), whose output numpy guarantees across versions, keyed by the
seed and the epoch; shuffles sort raw bits, so they depend on nothing else in numpy.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError

Indices = NDArray[np.int64]

_SHUFFLE, _SAMPLE = 0, 1


@dataclass(frozen=True, slots=True)
class Position:
    """How far a stream is: `seen` samples of a set of `size`, counted over all ranks and epochs."""

    seen: int
    size: int

    @property
    def epoch(self) -> int:
        """Epoch of the next sample, from 0."""
        return self.seen // self.size

    @property
    def offset(self) -> int:
        """Samples of that epoch already seen."""
        return self.seen % self.size

    @property
    def epochs(self) -> float:
        """Passes over the set so far, with fraction."""
        return self.seen / self.size

    def __str__(self) -> str:
        return f"epoch {self.epoch}, sample {self.offset} of {self.size}"


class Order:
    """Sample indices at global positions; seeks in constant time and holds the shuffles of a few blocks.

    Args:
        sizes: samples in each shard, int [shards], sum > 0.
        seed: in [0, 2^32).
        shuffle_block: shards that are shuffled together, >= 1.
        number: of the set in a mixture, in [0, 2^24): sets of the same sizes are shuffled differently.
    """

    def __init__(self, sizes: Indices, seed: int, shuffle_block: int, number: int = 0) -> None:
        self.sizes = np.asarray(sizes, dtype=np.int64)
        self.size = int(self.sizes.sum())
        self.seed = number << 32 | seed
        self.shuffle_block = shuffle_block
        self._firsts = np.cumsum(self.sizes) - self.sizes
        self._blocks: OrderedDict[tuple[int, int], Indices] = OrderedDict()
        self._plans: OrderedDict[int, tuple[Indices, Indices]] = OrderedDict()

    def slice(self, start: int, stop: int) -> tuple[Indices, Indices]:
        """Epoch and sample index at the global positions [start, stop), int64 [stop - start] each."""
        epochs = np.arange(start, stop, dtype=np.int64) // self.size
        parts = [np.empty(0, dtype=np.int64)]
        position = start
        while position < stop:
            epoch, offset = divmod(position, self.size)
            ends = self._plan(epoch)[1]
            block = int(np.searchsorted(ends, offset, side="right"))
            first = int(ends[block - 1]) if block else 0
            length = min(stop - position, int(ends[block]) - offset)
            parts.append(self._block(epoch, block)[offset - first : offset - first + length])
            position += length
        return epochs, np.concatenate(parts)

    def epoch(self, epoch: int) -> Indices:
        """The whole permutation of an epoch, int64 [N]; for tests and small sets."""
        return self.slice(epoch * self.size, (epoch + 1) * self.size)[1]

    def near(self, position: int, blocks: int) -> tuple[int, ...]:
        """Shards that are worth fetching when a global position is read.

        Args:
            position: of a sample.
            blocks: 0: none. 1: those of its block. 2: also those of the next, from the second quarter of the
                block on; before that, other loaders may still read the block before.
        """
        found: list[int] = []
        for number in range(blocks):
            epoch, offset = divmod(position, self.size)
            shards, ends = self._plan(epoch)
            block = int(np.searchsorted(ends, offset, side="right"))
            found += shards[block * self.shuffle_block : (block + 1) * self.shuffle_block].tolist()
            first = int(ends[block - 1]) if block else 0
            if number == 0 and 4 * (offset - first) < int(ends[block]) - first:
                break
            position += int(ends[block]) - offset
        return tuple(dict.fromkeys(found))

    def explain(self, position: int) -> str:
        """Where a global position falls, in words."""
        epoch, offset = divmod(position, self.size)
        _, index = self.slice(position, position + 1)
        shards, ends = self._plan(epoch)
        block = int(np.searchsorted(ends, offset, side="right"))
        mixed = sorted(shards[block * self.shuffle_block : (block + 1) * self.shuffle_block].tolist())
        return (
            f"position {position} is sample {int(index[0])}: epoch {epoch}, number {offset} of {self.size}, "
            f"block {block} of {len(ends)}, which mixes shards {mixed}"
        )

    def _plan(self, epoch: int) -> tuple[Indices, Indices]:
        """Shards in this epoch's order, and the offset in the epoch at which each block ends."""

        def make() -> tuple[Indices, Indices]:
            shards = _shuffled(len(self.sizes), self.seed, epoch, 0)
            ends = np.cumsum(self.sizes[shards])
            lasts = np.arange(self.shuffle_block, len(shards) + self.shuffle_block, self.shuffle_block)
            return shards, ends[np.minimum(lasts, len(shards)) - 1]

        if epoch not in self._plans:
            self._plans[epoch] = make()
            if len(self._plans) > 2:
                self._plans.popitem(last=False)
        return self._plans[epoch]

    def _block(self, epoch: int, block: int) -> Indices:
        """Shuffled sample indices of one block."""
        if (epoch, block) not in self._blocks:
            shards = self._plan(epoch)[0][block * self.shuffle_block : (block + 1) * self.shuffle_block]
            members = np.concatenate(
                [np.arange(self.sizes[s], dtype=np.int64) + self._firsts[s] for s in shards]
            )
            self._blocks[epoch, block] = members[_shuffled(len(members), self.seed, epoch, block + 1)]
            if len(self._blocks) > 2:
                self._blocks.popitem(last=False)
        return self._blocks[epoch, block]


def _shuffled(size: int, seed: int, epoch: int, part: int) -> Indices:
    """A permutation of range(size), int64; `part` separates the shuffles of one epoch."""
    bits = np.random.Philox(key=_key(_SHUFFLE, seed, epoch), counter=[0, 0, 0, part]).random_raw(size)
    return np.argsort(bits, kind="stable").astype(np.int64)


def _key(purpose: int, seed: int, epoch: int) -> NDArray[np.uint64]:
    return np.array([(seed << 8) | purpose, epoch], dtype=np.uint64)


class SampleRandom:
    """Random generators keyed by (seed, epoch, sample index): one is re-keyed, in a microsecond."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._philox = np.random.Philox(key=_key(_SAMPLE, seed, 0))
        self._generator = np.random.Generator(self._philox)
        self._state = self._philox.state

    def at(self, epoch: int, index: int) -> np.random.Generator:
        """Generator of one sample of one epoch; valid until the next call."""
        self._state["state"]["key"][1] = epoch
        self._state["state"]["counter"][:] = (0, 0, 0, index)
        self._philox.state = self._state
        return self._generator


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of each global batch a rank reads.

    Raises:
        DataError: if the global batch does not divide into equal micro-batches.
    """

    global_batch: int
    accumulate: int
    rank: int
    world: int

    def __post_init__(self) -> None:
        parts = self.accumulate * self.world
        if min(self.global_batch, self.accumulate, self.world) < 1 or not 0 <= self.rank < self.world:
            raise DataError(
                f"no share of a batch: {self}", fix="global batch, accumulate and world are 1 or more"
            )
        if self.global_batch % parts:
            near = max(1, round(self.global_batch / parts)) * parts
            what = f"global batch {self.global_batch} does not divide by {self.accumulate} accumulated x "
            raise DataError(f"{what}{self.world} ranks", where="engine.global_batch", fix=f"use {near}")

    @property
    def micro(self) -> int:
        """Samples a rank reads at a time."""
        return self.global_batch // (self.accumulate * self.world)

    def spans(self, start: int, steps: int | None) -> Iterator[tuple[int, int]]:
        """Global positions [first, last) of this rank's micro-batches, step after step, from `start` on."""
        step = 0
        while steps is None or step < steps:
            for part in range(self.accumulate):
                first = start + step * self.global_batch + (part * self.world + self.rank) * self.micro
                yield first, first + self.micro
            step += 1
