"""An order of samples in which a sample comes beside some of its neighbours (spec section 4, "Bank").

A mined neighbour helps only if it is in the batch. The epoch's shuffled list is walked; each sample that has
not come yet is an anchor and is followed at once by up to `beside` of its neighbours that have not come
either. Every sample comes once an epoch. Groups are a few samples long and a global batch many, so that a
batch boundary cuts few of them; the order depends on (seed, epoch, set, table, `beside`) and on nothing else.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator

import numpy as np

from mien.data.neighbours import Neighbours
from mien.data.order import Indices, Order
from mien.data.reader import Sample, ShardSet
from mien.errors import DataError


def grouped(order: Indices, neighbours: Indices, beside: int, begun: Indices | None = None) -> Indices:
    """The order in which anchors are followed by their neighbours.

    Args:
        order: a permutation of range(N), int64 [N].
        neighbours: of each sample, the nearest first, int [N, K]; -1 where there is none.
        beside: neighbours that may follow an anchor, at most.
        begun: samples that have come in this epoch already; they stay first.

    Returns:
        A permutation of range(N), int64 [N].
    """
    lists = neighbours.tolist()
    come = bytearray(len(order))
    result: list[int] = [] if begun is None else begun.tolist()
    for sample in result:
        come[sample] = 1
    for anchor in order.tolist():
        if come[anchor]:
            continue
        come[anchor] = 1
        result.append(anchor)
        room = beside
        for other in lists[anchor]:
            if not room:
                break
            if other >= 0 and not come[other]:
                come[other] = 1
                result.append(other)
                room -= 1
    return np.array(result, dtype=np.int64)


class TogetherOrder(Order):
    """`Order` with neighbours beside each other; holds the permutations of two epochs.

    The shuffle is that of `Order`, but neighbours come from the whole set: reading is no longer local to a
    block of shards.

    Args:
        base: the plain order.
        neighbours: int [N, K], -1 where there is none.
        beside: neighbours that follow an anchor, at most.
        begun: an epoch, and the samples of it that have come before this order began.
    """

    def __init__(
        self, base: Order, neighbours: Indices, beside: int, begun: tuple[int, Indices] | None = None
    ) -> None:
        super().__init__(base.sizes, base.seed & 0xFFFF_FFFF, base.shuffle_block, base.seed >> 32)
        self._plain = base
        self.neighbours = neighbours
        self.beside = beside
        self.begun = begun
        self._whole: OrderedDict[int, Indices] = OrderedDict()

    def slice(self, start: int, stop: int) -> tuple[Indices, Indices]:
        """As `Order.slice`."""
        positions = np.arange(start, stop, dtype=np.int64)
        epochs = positions // self.size
        found = np.empty(len(positions), dtype=np.int64)
        for epoch in np.unique(epochs).tolist():
            mine = epochs == epoch
            found[mine] = self._permutation(epoch)[positions[mine] % self.size]
        return epochs, found

    def near(self, position: int, blocks: int) -> tuple[int, ...]:
        """Nothing: neighbours lie anywhere in the set."""
        return ()

    def explain(self, position: int) -> str:
        """Where a global position falls, in words."""
        epoch, offset = divmod(position, self.size)
        _, index = self.slice(position, position + 1)
        return (
            f"position {position} is sample {int(index[0])}: epoch {epoch}, number {offset} of {self.size}, "
            f"beside up to {self.beside} neighbours"
        )

    def _permutation(self, epoch: int) -> Indices:
        if epoch not in self._whole:
            come = self.begun[1] if self.begun is not None and self.begun[0] == epoch else None
            self._whole[epoch] = grouped(self._plain.epoch(epoch), self.neighbours, self.beside, come)
            if len(self._whole) > 2:
                self._whole.popitem(last=False)
        return self._whole[epoch]


def require_everywhere(shards: ShardSet) -> None:
    """Raise DataError if a set is fetched by whole shards, which an order over all of it would fetch again
    and again."""
    if shards.remote is not None and not shards.remote.reading.ranges:
        fix = "copy the set to a disk, or set data.remote.fetch=range"
        raise DataError("neighbours lie in all shards of a set", where=shards.folder, fix=fix)


class TogetherSet:
    """A set and its table; stands where a `ShardSet` does and differs in the order alone.

    Args:
        shards: the set; one behind a URL is read by ranges.
        table: of that set.
        beside: as in `TogetherOrder`.
        begun: as in `TogetherOrder`.

    Raises:
        DataError: as `require_everywhere`.
    """

    def __init__(
        self, shards: ShardSet, table: Neighbours, beside: int, begun: tuple[int, Indices] | None = None
    ) -> None:
        require_everywhere(shards)
        self.shards = shards
        self.table = table
        self.beside = beside
        self.begun = begun
        self.schema = shards.schema
        self.sizes = shards.sizes
        self.folder = shards.folder
        text = f"together\n{shards.sha} {table.sha} {beside}"
        self.sha = hashlib.sha256(text.encode()).hexdigest()
        """SHA-256 (hex) that stands for the content of the set and for the table."""
        self.blocks_ahead = 0

    def __len__(self) -> int:
        return len(self.shards)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.shards)

    def order(self, seed: int, shuffle_block: int) -> TogetherOrder:
        """The order in which a run trains on the set: by the positives of image rows."""
        plain = self.shards.order(seed, shuffle_block)
        return TogetherOrder(plain, self.table.ab.indices.astype(np.int64), self.beside, self.begun)

    def expect(self, indices: Indices, ahead: Iterable[int]) -> None:
        """As `ShardSet.expect`."""
        self.shards.expect(indices, ahead)

    def shard_of(self, index: int) -> str:
        """As `ShardSet.shard_of`."""
        return self.shards.shard_of(index)

    def read(self, index: int) -> Sample:
        """As `ShardSet.read`."""
        return self.shards.read(index)
