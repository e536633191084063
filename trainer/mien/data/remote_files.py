"""Byte ranges of the files of a remote set: what `LocalFiles` is for a folder.

Global batch k is the same on any number of nodes and mixes a block of shards, so every node has samples in
every shard. A node that fetches whole shards (`shard`) therefore reads the whole set over the network, once
an epoch, or once for all where the cache holds it. Range reads (`range`) fetch the bytes of samples that this
node trains on: about 1/N of the set each epoch, nothing is cached, and no checksum covers them (the index has
one a shard), so that damage is found by the tar's headers and the decoder only.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from mien.data import index as index_file
from mien.data.cache import ShardCache
from mien.data.config import RemoteConfig
from mien.data.index import FILE, Index, Shard
from mien.data.location import within
from mien.data.node import cache_root
from mien.data.open_files import OpenFiles
from mien.data.pool import DaemonPool
from mien.data.remote import Remote
from mien.errors import DataError

_FETCHES = 2

Span = tuple[str, int, int]
"""File, first byte, behind the last byte."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a remote set is read by this process.

    Attributes:
        live: shards that are read at a time; so many stay open.
        blocks: 1 if only shards of the current block are fetched before they are read, 2: of the next too.
        ranges: read ranges instead of whole shards.
    """

    live: int = 8
    blocks: int = 1
    ranges: bool = False


def open_remote(url: str, config: RemoteConfig) -> tuple[Index, Remote]:
    """The index of a set behind a URL, and its files.

    Raises:
        DataError: for an index that is absent, too large or unusable.
        RemoteError: if the server cannot be read.
    """
    remote = Remote(url, config.attempts, config.timeout_s)
    where, size = within(url, FILE), remote.size(FILE)
    if size is None:
        raise DataError("no index.json", where=url, fix="give the URL of a set's folder")
    index_file.check_size(size, where)
    return index_file.parse(remote.read(FILE, 0, size, ranged=False), where), remote


class RemoteFiles(OpenFiles):
    """Files of a remote set. Safe across fork and pickling: a process opens and connects for itself.

    Args:
        remote: where they are.
        index: of the set.
        config: `data.remote`.

    Raises:
        DataError: if there can be no cache folder.
    """

    def __init__(self, remote: Remote, index: Index, config: RemoteConfig) -> None:
        self.remote = remote
        self.reading = Reading()
        self.shards: dict[str, Shard] = {shard.file: shard for shard in index.shards}
        limit = int(config.cache_gb * 1e9)
        self.cache = ShardCache(cache_root(config.cache_dir), index.sha[:16], limit, remote)
        self._open: OrderedDict[str, int] = OrderedDict()
        self._forget()

    def _forget(self) -> None:
        """Leave behind what belongs to another process."""
        self._pid = os.getpid()
        self._pool: DaemonPool | None = None
        self._expected: tuple[str, ...] = ()
        self._fetches: list[Future[Any]] = []
        self._coming: dict[Span, Callable[[], bytes]] = {}

    def size(self, file: str) -> int | None:
        """Bytes in a file, None if it is absent.

        Raises:
            RemoteError: if the server cannot be read.
        """
        return self.remote.size(file)

    def read(self, file: str, offset: int, length: int) -> bytes:
        """`length` bytes at `offset`.

        Raises:
            RemoteError: if the server cannot be read, or the cache not be written.
            DataError: if the shard is absent, ends early, or is not the one that the index states.
        """
        if self.reading.ranges:
            coming = self._coming.pop((file, offset, offset + length), None)
            data = coming() if coming else self.remote.read(file, offset, offset + length)
            if not self._coming:
                self.remote.flush()
            return data
        data = os.pread(self._handle(file), length, offset)
        if len(data) != length:
            what = f"ends before byte {offset + length}"
            raise DataError(what, where=within(self.remote.url, file), fix="run `mien data check` on the URL")
        return data

    def expect(self, spans: Sequence[Span], ahead: Iterable[str]) -> None:
        """Be told what comes: the reads of a micro-batch, and files that are wanted soon.

        Ranges are fetched side by side from now on; files, in the background. Errors are left to `read`.
        """
        if self._pid != os.getpid():
            self._forget()
        if self.reading.ranges:
            self._coming = {span: self.remote.start(*span) for span in dict.fromkeys(spans)}
            return
        files = tuple(ahead)
        if files != self._expected:
            self._expected = files
            for fetch in self._fetches:
                fetch.cancel()
            self._pool = self._pool or DaemonPool(_FETCHES)
            self._fetches = [self._pool.submit(self.cache.prepare, self.shards[file]) for file in files]

    def _room(self) -> int:
        return self.reading.live

    def _open_file(self, file: str) -> int:
        return self.cache.open(self.shards[file])

    def __getstate__(self) -> dict[str, Any]:
        ours = {"_open": OrderedDict(), "_pid": -1, "_pool": None, "_fetches": [], "_coming": {}}
        return {**self.__dict__, **ours}
