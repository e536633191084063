"""From the `data:` section of a recipe to the sets that a run reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mien.data import neighbours
from mien.data.cache import too_small
from mien.data.config import DataConfig, SetConfig
from mien.data.mixture import MixedSet
from mien.data.reader import ShardSet
from mien.data.remote_files import Reading
from mien.data.together import TogetherSet
from mien.errors import DataError


def open_train(data: DataConfig, nodes: int = 1) -> ShardSet | MixedSet | TogetherSet:
    """The set to train on, with its table of neighbours where there is one, or the mixture.

    Args:
        data: the section; `train` is given.
        nodes: of the run: on several, a cache that cannot hold the set may be worse than reading ranges.

    Raises:
        DataError: naming the key, for a set that cannot be used, a cache too small for a block of shards, or
            a table of neighbours that is damaged or not of this set.
        RemoteError: for a server that cannot be read.
    """
    assert data.train is not None
    keys = [f"data.train.mix[{number}]" for number in range(len(data.train.parts))]
    keys = ["data.train"] if data.train.mix is None else keys
    sets = [_open(key, part, data) for key, part in zip(keys, data.train.parts, strict=True)]
    _settle(sets, data, nodes, data.shuffle_block)
    if data.train.neighbours is not None:
        return _with_neighbours(sets[0], Path(data.train.neighbours), data.train.beside)
    if len(sets) == 1:
        return sets[0]
    return MixedSet(sets, [part.weight for part in data.train.parts])


def _with_neighbours(shards: ShardSet, path: Path, beside: int) -> TogetherSet:
    try:
        table = neighbours.load(path)
        table.check(shards.sha, len(shards), path)
        return TogetherSet(shards, table, beside)
    except DataError as error:
        raise DataError(error.what, where=f"data.train.neighbours: {error.where}", fix=error.fix) from error


def open_val(data: DataConfig, nodes: int = 1) -> ShardSet | None:
    """The set to validate on, read in index order; None where there is none.

    Raises:
        DataError, RemoteError: as `open_train`.
    """
    if data.val is None:
        return None
    shards = _open("data.val", data.val, data, ", or data.val=null to go without")
    _settle([shards], data, nodes, 1)
    return shards


def _open(key: str, config: SetConfig, data: DataConfig, choice: str = "") -> ShardSet:
    try:
        return ShardSet(config.shards, data.remote)
    except DataError as error:
        where = f"{key}.shards: {error.where}"
        raise type(error)(error.what, where=where, fix=f"{error.fix}{choice}") from error


def _settle(sets: Sequence[ShardSet], data: DataConfig, nodes: int, block: int) -> None:
    """Choose how the remote ones of the sets are read; they share the cache."""
    remote = [(part, part.remote) for part in sets if part.remote is not None]
    if not remote:
        return
    limit = int(data.remote.cache_gb * 1e9)
    whole = sum(int(part.bytes.sum()) for part, _ in remote)
    live = sum(part.block_bytes(block) for part, _ in remote)
    fetch = data.remote.fetch
    if fetch == "auto":
        fetch = "range" if nodes > 1 and whole > limit else "shard"
    if fetch == "shard" and live > limit:
        what = f"one block of {block} shards" if len(sets) == 1 else f"a block of {block} shards of each set"
        raise too_small(remote[0][1].cache.root, live, limit, what)
    for _, files in remote:
        files.reading = Reading(live=block + 1, blocks=1 + (2 * live <= limit), ranges=fetch == "range")
