"""Whole shards as open files, whether they lie in a folder or behind a URL: what a check reads."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from mien.data import index as index_file
from mien.data.config import RemoteConfig
from mien.data.index import Index, Shard
from mien.data.remote import Remote
from mien.data.remote_files import open_remote


class FolderSource:
    """Shards of a local folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def size(self, file: str) -> int | None:
        """Bytes in a file, None if it is absent."""
        path = self.folder / file
        return path.stat().st_size if path.is_file() else None

    def strays(self, index: Index) -> list[str]:
        """Tars that the index does not list."""
        listed = {shard.file for shard in index.shards}
        return sorted(path.name for path in self.folder.glob("*.tar") if path.name not in listed)

    @contextmanager
    def opened(self, shard: Shard) -> Iterator[BinaryIO]:
        """The shard's file, for reading."""
        with (self.folder / shard.file).open("rb") as file:
            yield file


class RemoteSource:
    """Shards behind a URL; each is copied to a temporary file while it is read, past the cache."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote

    def size(self, file: str) -> int | None:
        """Bytes in a file, None if it is absent; RemoteError if the server cannot be read."""
        return self.remote.size(file)

    def strays(self, index: Index) -> list[str]:
        """Nothing: not every server lists its files."""
        return []

    @contextmanager
    def opened(self, shard: Shard) -> Iterator[BinaryIO]:
        """A copy of the shard; RemoteError if the server cannot be read."""
        with tempfile.TemporaryFile() as file:
            self.remote.fetch(shard.file, 0, shard.bytes, file.write)
            file.flush()
            yield cast(BinaryIO, file)


def open_source(place: Path | str) -> tuple[Index, FolderSource | RemoteSource]:
    """The index of a set and its shards; `place` is from `locate`.

    Raises:
        DataError: for an unusable index.
        RemoteError: for a server that cannot be read.
    """
    if isinstance(place, Path):
        return index_file.load(place), FolderSource(place)
    index, remote = open_remote(place, RemoteConfig())
    return index, RemoteSource(remote)
