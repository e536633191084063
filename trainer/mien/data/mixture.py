"""Several sets mixed by weight: an order that is a pure function of (seed, position, sets, weights).

Which set a position belongs to repeats with a period: the weights become whole numbers c_i that sum to the
period P, and Tijdeman's rule for the chairman assignment problem (Discrete Mathematics 32, 1980) deals out P
positions so that among the first n of them set i has c_i n / P, give or take less than one. So in any window
of L positions, each set has its share of L give or take less than two. How many samples of a set come before
a position is then one division and one search, and the rest is the set's own `Order`: its samples come once
in each of its own epochs, whatever the other sets do.

Samples are numbered through all sets, so that (epoch, index), which keys augmentation, is never that of two.
Records are taken as they are: a `uid` or `group` that two sets share counts as the same picture or person.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.data.order import Indices, Order
from mien.errors import DataError

if TYPE_CHECKING:
    from mien.data.reader import Sample, ShardSet

PERIOD = 1 << 16
"""Longest period: weights are exact if whole numbers (or their fractions) sum to no more, else to 2^-16."""


def shares(weights: Sequence[float]) -> tuple[int, ...]:
    """Positions of each set in a period, whole numbers > 0 without a common divisor where weights allow it.

    Raises:
        DataError: for a weight so small that its set would never come.
    """
    exact = [Fraction(weight).limit_denominator(PERIOD) for weight in weights]
    scale = math.lcm(*(part.denominator for part in exact))
    whole = [int(part * scale) for part in exact]
    divisor = math.gcd(*whole)
    whole = [count // divisor for count in whole] if divisor else whole
    if sum(whole) > PERIOD or 0 in whole:
        whole = _rounded([Fraction(weight) for weight in weights])
    if 0 in whole:
        what = f"weight {weights[whole.index(0)]:.3g} is less than 1 of {PERIOD}"
        raise DataError(what, where="data.train.mix", fix="give it more, or leave the set out")
    return tuple(whole)


def _rounded(weights: list[Fraction]) -> list[int]:
    """Whole numbers that sum to PERIOD, by largest remainder."""
    total = sum(weights)
    ideal = [weight * PERIOD / total for weight in weights]
    whole = [int(part) for part in ideal]
    order = sorted(range(len(whole)), key=lambda number: (whole[number] - ideal[number], number))
    for number in order[: PERIOD - sum(whole)]:
        whole[number] += 1
    return whole


def pattern(counts: Sequence[int]) -> NDArray[np.int64]:
    """Set of each position of a period, int64 [sum(counts)], by Tijdeman's rule.

    Of the sets that may come at position k without being more than (2K-3)/(2K-2) early, the one comes that
    would be late first.
    """
    period, sets = sum(counts), len(counts)
    if sets == 1:
        return np.zeros(period, dtype=np.int64)
    slack = 2 * sets - 2
    had = [0] * sets
    dealt = np.empty(period, dtype=np.int64)
    for place in range(period):
        best, best_due = -1, (0, 1)
        for number, count in enumerate(counts):
            lag = count * (place + 1) - had[number] * period  # in units of 1 / period
            if lag * slack < period:
                continue
            due = (period * (slack - 1) - lag * slack, count)  # time until it is late, times slack
            if best < 0 or due[0] * best_due[1] < best_due[0] * due[1]:
                best, best_due = number, due
        dealt[place] = best
        had[best] += 1
    return dealt


class MixedOrder:
    """Sample indices at global positions of a mixture; seeks in constant time, holds a few blocks a set.

    Args:
        orders: of the sets.
        counts: from `shares`.
    """

    def __init__(self, orders: Sequence[Order], counts: Sequence[int]) -> None:
        self.orders = tuple(orders)
        self.counts = tuple(counts)
        self.period = sum(counts)
        self._pattern = pattern(counts)
        self._places = [np.flatnonzero(self._pattern == number) for number in range(len(counts))]
        ends = np.cumsum([order.size for order in orders])
        self._firsts = (ends - [order.size for order in orders]).tolist()
        self._first_shards = np.cumsum([0, *(len(order.sizes) for order in orders)]).tolist()

    def before(self, number: int, position: int) -> int:
        """Samples of a set at the global positions [0, position)."""
        rounds, rest = divmod(position, self.period)
        return rounds * self.counts[number] + int(np.searchsorted(self._places[number], rest))

    def slice(self, start: int, stop: int) -> tuple[Indices, Indices]:
        """Epoch of its set, and index in the mixture, at the positions [start, stop), int64 each."""
        of = self._pattern[np.arange(start, stop, dtype=np.int64) % self.period]
        epochs, indices = np.empty(len(of), dtype=np.int64), np.empty(len(of), dtype=np.int64)
        for number, order in enumerate(self.orders):
            mine = of == number
            first = self.before(number, start)
            epochs[mine], found = order.slice(first, first + int(mine.sum()))
            indices[mine] = found + self._firsts[number]
        return epochs, indices

    def near(self, position: int, blocks: int) -> tuple[int, ...]:
        """Shards (numbered through all sets) of each set's block at a position and of those after it."""
        found: list[int] = []
        for number, order in enumerate(self.orders):
            shards = order.near(self.before(number, position), blocks)
            found += [shard + self._first_shards[number] for shard in shards]
        return tuple(found)


class MixedSet:
    """Sets that a run trains on together; stands where a `ShardSet` does.

    Args:
        sets: at least one.
        weights: of each, > 0.

    Raises:
        DataError: if schemas differ, or a weight is too small.
    """

    def __init__(self, sets: Sequence[ShardSet], weights: Sequence[float]) -> None:
        self.sets = tuple(sets)
        self.counts = shares(weights)
        self.schema = sets[0].schema
        """Name and version of the samples' schema."""
        for other in sets:
            if other.schema != self.schema:
                what = f"schema {other.schema}, but {sets[0].folder} has {self.schema}"
                raise DataError(what, where=other.folder, fix="mix sets of one schema")
        text = "\n".join(f"{part.sha} {count}" for part, count in zip(sets, self.counts, strict=True))
        self.sha = hashlib.sha256(f"mixture\n{text}".encode()).hexdigest()
        """SHA-256 (hex) that stands for the content of the sets and their weights."""
        self._ends: list[int] = np.cumsum([len(part) for part in sets]).tolist()
        self._shard_ends: list[int] = np.cumsum([len(part.sizes) for part in sets]).tolist()

    def __len__(self) -> int:
        return self._ends[-1]

    def __iter__(self) -> Iterator[Sample]:
        return (self.read(index) for index in range(len(self)))

    def order(self, seed: int, shuffle_block: int) -> MixedOrder:
        """The order in which a run trains on the mixture."""
        orders = [Order(part.sizes, seed, shuffle_block, number) for number, part in enumerate(self.sets)]
        return MixedOrder(orders, self.counts)

    @property
    def blocks_ahead(self) -> int:
        """As `ShardSet.blocks_ahead`."""
        return max(part.blocks_ahead for part in self.sets)

    def expect(self, indices: Indices, ahead: Iterable[int]) -> None:
        """As `ShardSet.expect`, with the mixture's numbers."""
        soon = np.fromiter(ahead, dtype=np.int64)
        for part, end, shard_end in zip(self.sets, self._ends, self._shard_ends, strict=True):
            first, first_shard = end - len(part), shard_end - len(part.sizes)
            mine = indices[(indices >= first) & (indices < end)] - first
            shards = soon[(soon >= first_shard) & (soon < shard_end)] - first_shard
            part.expect(mine, shards.tolist())

    def shard_of(self, index: int) -> str:
        """Set and file of the shard that holds a sample."""
        part, local = self._at(index)
        return f"{part.folder}/{part.shard_of(local)}"

    def read(self, index: int) -> Sample:
        """The sample at a position in [0, len); its `index` is that of the mixture.

        Raises:
            DataError, RemoteError, IndexError: as `ShardSet.read`.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        part, local = self._at(index)
        sample = part.read(local)
        sample.index = index
        return sample

    def _at(self, index: int) -> tuple[ShardSet, int]:
        number = bisect.bisect_right(self._ends, index)
        return self.sets[number], index - (self._ends[number - 1] if number else 0)
