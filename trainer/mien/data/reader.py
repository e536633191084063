"""Random access to the samples of a set: one `pread` at the indexed offset, no scan of the tar."""

from __future__ import annotations

import bisect
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mien.data import index as index_file
from mien.data.config import RemoteConfig
from mien.data.location import locate, within
from mien.data.open_files import OpenFiles
from mien.data.order import Indices, Order
from mien.data.remote_files import RemoteFiles, open_remote
from mien.data.schema import Members, Record, image_member, parse_json, validate
from mien.data.tar import split_name, walk
from mien.errors import DataError

_MEND = "run `mien data check` on the folder; copy or write the shard again"


class Sample:
    """One sample as it is stored.

    Attributes:
        index: position in the set, from 0.
        key: name in the tar, unique in the set.
        members: bytes by extension.
        shard: file name of its shard.
        schema: what it has to fit, a key of `mien.data.schema.SCHEMAS`; None: any JSON object will do.
    """

    def __init__(
        self, index: int, key: str, members: dict[str, bytes], shard: str, schema: str | None = None
    ) -> None:
        self.index = index
        self.key = key
        self.members: Members = members
        self.shard = shard
        self.schema = schema

    @property
    def where(self) -> str:
        """Shard and key, for messages."""
        return f"{self.shard}: {self.key}"

    @cached_property
    def record(self) -> Record:
        """The JSON record, parsed and checked at first use: what the schema promises is there.

        Raises:
            DataError: if it is absent or not a JSON object in UTF-8, or the sample does not fit its schema.
        """
        if self.schema is not None:
            return validate(self.schema, self.members, self.where)
        return parse_json(self.members.get("json"), self.where)

    @property
    def image(self) -> bytes:
        """Encoded bytes of the image.

        Raises:
            DataError: if the sample has none.
        """
        data = image_member(self.members)
        if data is None:
            raise DataError("sample without an image", where=self.where, fix="write the sample again")
        return data


class LocalFiles(OpenFiles):
    """Byte ranges of the files of a local folder; keeps at most `limit` files open.

    `RemoteFiles` stands in its place for a set behind a URL. Safe across fork, because
    `pread` shares no file position, and across pickling, which leaves the open files behind.
    """

    def __init__(self, folder: Path, limit: int = 64) -> None:
        self.folder = folder
        self.limit = limit
        self._open: OrderedDict[str, int] = OrderedDict()

    def size(self, file: str) -> int | None:
        """Bytes in a file, None if it is absent."""
        path = self.folder / file
        return path.stat().st_size if path.is_file() else None

    def read(self, file: str, offset: int, length: int) -> bytes:
        """`length` bytes at `offset`.

        Raises:
            DataError: if the file cannot be read or ends early.
        """
        try:
            data = os.pread(self._handle(file), length, offset)
        except OSError as error:
            raise DataError(
                f"cannot be read: {error.strerror}", where=self.folder / file, fix=_MEND
            ) from error
        if len(data) != length:
            raise DataError(f"ends before byte {offset + length}", where=self.folder / file, fix=_MEND)
        return data

    def _room(self) -> int:
        return self.limit

    def _open_file(self, file: str) -> int:
        return os.open(self.folder / file, os.O_RDONLY | os.O_CLOEXEC)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "limit": self.limit, "_open": OrderedDict()}


class ShardSet:
    """A set of shards, indexed by sample.

    Opening reads `index.json` and compares the size of each shard with it (of a remote set, of the first and
    the last); contents are the business of `mien.data.check`. Safe to share with forked or spawned workers.

    Args:
        folder: folder that holds `index.json`, or its URL.
        remote: how to read a URL.

    Raises:
        DataError: if the index is unusable, a shard is absent, or a shard has another size than stated.
        RemoteError: if the server cannot be read.
    """

    def __init__(self, folder: Path | str, remote: RemoteConfig | None = None) -> None:
        self.folder = locate(folder)
        index = self._open(remote or RemoteConfig())
        self.schema = index.schema
        """Name and version of the samples' schema."""
        self.sha = index.sha
        """SHA-256 (hex) that stands for the content of the set."""
        self.sizes = np.array([shard.samples for shard in index.shards], dtype=np.int64)
        """Samples in each shard, int64 [shards]."""
        self.bytes = np.array([shard.bytes for shard in index.shards], dtype=np.int64)
        """Bytes of each shard, int64 [shards]."""
        self._names = [shard.file for shard in index.shards]
        self._ends: list[int] = np.cumsum(self.sizes).tolist()
        self._starts = np.concatenate([shard.offsets[:-1] for shard in index.shards])
        self._stops = np.concatenate([shard.offsets[1:] for shard in index.shards])
        for shard in index.shards if self.remote is None else (index.shards[0], index.shards[-1]):
            self._check_size(shard)

    def _open(self, config: RemoteConfig) -> index_file.Index:
        self.remote: RemoteFiles | None = None
        """The files of a set behind a URL; None for a local one."""
        self._files: LocalFiles | RemoteFiles
        if isinstance(self.folder, Path):
            index, self._files = index_file.load(self.folder), LocalFiles(self.folder)
        else:
            index, files = open_remote(self.folder, config)
            self._files = self.remote = RemoteFiles(files, index, config)
        return index

    def _check_size(self, shard: index_file.Shard) -> None:
        found = self._files.size(shard.file)
        where = within(self.folder, shard.file)
        if found is None:
            raise DataError("shard file is missing", where=where, fix="copy it, or run `mien data index`")
        if found != shard.bytes:
            cut = "is cut short" if found < shard.bytes else "has grown"
            raise DataError(f"shard {cut}: {found} bytes, index states {shard.bytes}", where=where, fix=_MEND)

    def __len__(self) -> int:
        return len(self._starts)

    def shard_of(self, index: int) -> str:
        """File name of the shard that holds a sample."""
        return self._names[bisect.bisect_right(self._ends, index)]

    def order(self, seed: int, shuffle_block: int) -> Order:
        """The order in which a run trains on the set."""
        return Order(self.sizes, seed, shuffle_block)

    @property
    def blocks_ahead(self) -> int:
        """Blocks of shards that `expect` wants to hear of, as for `Order.near`."""
        return 0 if self.remote is None or self.remote.reading.ranges else self.remote.reading.blocks

    def block_bytes(self, shuffle_block: int) -> int:
        """Bytes of the largest block of shards that any epoch can have."""
        return int(np.sort(self.bytes)[-shuffle_block:].sum())

    def expect(self, indices: Indices, ahead: Iterable[int]) -> None:
        """Be told which samples are read next, and which shards soon (numbers in the index); a hint."""
        if self.remote is not None:
            spans = [
                (self.shard_of(index), int(self._starts[index]), int(self._stops[index]))
                for index in indices.tolist()
            ]
            self.remote.expect(spans, [self._names[shard] for shard in ahead])

    def read(self, index: int) -> Sample:
        """The sample at a position in [0, len).

        Raises:
            DataError: if the shard cannot be read or holds no whole sample at the indexed offset.
            RemoteError: if the server cannot be read, whatever the sample.
            IndexError: if there is no such position.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        file = self.shard_of(index)
        start, stop = int(self._starts[index]), int(self._stops[index])
        return self._parse(index, file, self._files.read(file, start, stop - start))

    def _parse(self, index: int, file: str, data: bytes) -> Sample:
        key, members = "", dict[str, bytes]()
        try:
            for member in walk(lambda offset, length: data[offset : offset + length], 0, len(data)):
                found, extension = split_name(member.name)
                if (members and found != key) or extension in members:
                    raise DataError(f"holds {member.name!r} beside {key!r}")
                key = found
                members[extension] = data[member.data : member.data + member.size]
        except DataError as error:
            where = f"{within(self.folder, file)}: sample {index} at byte {int(self._starts[index])}"
            raise DataError(error.what, where=where, fix=_MEND) from error
        if not members:
            where = f"{within(self.folder, file)}: sample {index} at byte {int(self._starts[index])}"
            raise DataError("no sample there", where=where, fix=_MEND)
        return Sample(index, key, members, file, self.schema)

    def __iter__(self) -> Iterator[Sample]:
        return (self.read(index) for index in range(len(self)))
