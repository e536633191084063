"""Write a set: WebDataset tars with deterministic bytes, then `index.json`, last and atomically."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from mien.data import index as index_file
from mien.data.index import FILE, MAX_SAMPLE, Index, Shard
from mien.data.schema import SCHEMAS, validate
from mien.data.tar import BLOCK, padded
from mien.errors import DataError

_KEY = re.compile(r"[A-Za-z0-9_\-]{1,80}")
_END = bytes(2 * BLOCK)


class ShardWriter:
    """Writes `out/shard-00000.tar`, ... and, on leaving the `with` block without an error, the index.

    The same samples give the same bytes: members are sorted, times and owners are zero. A shard appears under
    its name only when complete; without `index.json` the folder is not a set, so a killed run is never
    mistaken for one. An error inside the block removes the shards written so far.

    Args:
        out: folder, created if absent; must not hold a set or other tars.
        schema: a key of `mien.data.schema.SCHEMAS`.
        samples_per_shard: samples in every shard but the last.

    Raises:
        DataError: for an unknown schema or a folder in use.
    """

    def __init__(self, out: Path, schema: str, samples_per_shard: int = 2500) -> None:
        if schema not in SCHEMAS:
            raise DataError(f"unknown schema {schema!r}", where=out, fix=f"one of: {', '.join(SCHEMAS)}")
        if samples_per_shard < 1:
            raise DataError(f"{samples_per_shard} samples a shard", where=out, fix="give 1 or more")
        self.out = Path(out)
        self.schema = schema
        self.samples_per_shard = samples_per_shard
        self._keys: set[str] = set()
        self._shards: list[Shard] = []
        self._tar: _Tar | None = None
        if (self.out / FILE).exists() or (self.out.is_dir() and any(self.out.glob("*.tar"))):
            raise DataError("already holds shards", where=out, fix="give another folder or delete it")
        self.out.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            if self._tar is not None:
                self._tar.discard()
            for shard in self._shards:
                (self.out / shard.file).unlink(missing_ok=True)
            return
        self._close_shard()
        index_file.save(Index(self.schema, tuple(self._shards)), self.out)

    def write(self, key: str, members: Mapping[str, bytes]) -> None:
        """Append one sample.

        Args:
            key: unique in the set; letters, digits, `_` and `-`, at most 80.
            members: bytes by extension, such as `{"jpg": ..., "json": ...}`.

        Raises:
            DataError: for a key that is repeated or not allowed, or members that do not fit the schema.
        """
        where = f"{self.out}: {key}"
        if not _KEY.fullmatch(key):
            raise DataError("key is not plain", where=where, fix="use letters, digits, _ and -, at most 80")
        if key in self._keys:
            raise DataError("key is written twice", where=where, fix="give each sample a key of its own")
        validate(self.schema, members, where)
        if sum(padded(len(data)) + BLOCK for data in members.values()) > MAX_SAMPLE:
            raise DataError(f"sample of more than {MAX_SAMPLE} bytes", where=where, fix="split it")
        if self._tar is None:
            self._tar = _Tar(self.out / f"shard-{len(self._shards):05d}.tar")
        self._keys.add(key)
        self._tar.add(key, members)
        if len(self._tar.starts) == self.samples_per_shard:
            self._close_shard()

    def _close_shard(self) -> None:
        if self._tar is not None:
            self._shards.append(self._tar.close())
            self._tar = None


class _Tar:
    """One growing tar under a temporary name, hashed while it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.starts: list[int] = []
        self._temporary = path.with_name(f".{path.name}.tmp")
        self._file: BinaryIO = self._temporary.open("wb")
        self._sha = hashlib.sha256()
        self._size = 0

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        self.starts.append(self._size)
        for extension in sorted(members):
            info = tarfile.TarInfo(f"{key}.{extension}")
            info.size = len(members[extension])
            self._put(info.tobuf(tarfile.USTAR_FORMAT))
            self._put(members[extension])
            self._put(bytes(padded(info.size) - info.size))

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._sha.update(data)
        self._size += len(data)

    def close(self) -> Shard:
        offsets = np.array([*self.starts, self._size], dtype=np.int64)
        self._put(_END)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self.path)
        return Shard(self.path.name, self._size, self._sha.hexdigest(), offsets)

    def discard(self) -> None:
        self._file.close()
        self._temporary.unlink()
