"""Whole remote shards on a node's disk: fetched once whoever asks first, checked, bounded.

    <root>/evict.lock                        taken to remove files
    <root>/<set>/shards/<file>               whole and checked: renamed to this name only then
    <root>/<set>/parts/<file>                being fetched, or left by a killed process
    <root>/<set>/locks/<file>                held while a shard is fetched; freed when its holder dies
    <root>/<set>/seals/<file>                checksum that held, and for which inode, size, time and boot
    <root>/<set>/damaged/<file>              why a shard cannot be had; forgotten after ten minutes
    <root>/<set>/counters                    what crossed the network

The access time of a shard, set by hand at each opening, is when it was last wanted; the oldest goes first.
Removal only unlinks, so who has a shard open reads on.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from mien.data.index import Shard, sha256_of
from mien.data.node import Counters
from mien.data.remote import Remote
from mien.data.retry import RemoteError
from mien.errors import DataError

T = TypeVar("T")

_REMEMBER_S = 600
_FOLDERS = ("shards", "parts", "locks", "seals", "damaged")


class ShardCache:
    """The cached shards of one set; safe for any number of processes and threads of a node.

    Args:
        root: from `cache_root`; sets share it and its bound.
        name: folder of the set, from its checksum.
        limit: bytes of whole shards, over all sets.
        remote: where shards come from.
    """

    def __init__(self, root: Path, name: str, limit: int, remote: Remote) -> None:
        self.root = root
        self.folder = root / name
        self.limit = limit
        self.remote = remote
        self.counters = Counters(self.folder / "counters")
        for part in _FOLDERS:
            (self.folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        remote.counters = self.counters
        remote.flush()  # what the index took

    def open(self, shard: Shard) -> int:
        """File descriptor of a shard, for `pread`; waits where another process is fetching it.

        Raises:
            DataError: if the shard is absent, cut short, or not the one that the index states.
            RemoteError: if the server cannot be read or the disk refuses.
        """
        handle = self._sealed(shard)
        if handle is not None:
            return handle
        with self._locked(self._path("locks", shard)):
            return self._have(shard)

    def prepare(self, shard: Shard) -> None:
        """Fetch a shard if it is absent and nobody is at it.

        Raises:
            DataError: as `open`.
        """
        handle = self._sealed(shard)
        if handle is None:
            try:
                with self._locked(self._path("locks", shard), fcntl.LOCK_NB):
                    handle = self._have(shard)
            except BlockingIOError:
                return
        os.close(handle)

    def _have(self, shard: Shard) -> int:
        """`open` under the shard's lock."""
        handle = self._sealed(shard)
        if handle is None:
            handle = self._checked(shard)
        return self._fetch(shard) if handle is None else handle

    def _path(self, part: str, shard: Shard) -> Path:
        return self.folder / part / shard.file

    # --- what is there

    def _sealed(self, shard: Shard) -> int | None:
        """A shard that was checked since the last boot and not changed after."""
        try:
            handle = os.open(self._path("shards", shard), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            sealed = self._path("seals", shard).read_text() == _seal(shard, handle)
        except (FileNotFoundError, UnicodeDecodeError):
            sealed = False
        if not sealed:
            os.close(handle)
            return None
        os.utime(handle, ns=(time.time_ns(), os.fstat(handle).st_mtime_ns))
        return handle

    def _checked(self, shard: Shard) -> int | None:
        """A shard without a valid seal: checked again, and removed if it is another."""
        path = self._path("shards", shard)
        if not path.is_file():
            return None
        with path.open("rb") as file:
            if sha256_of(file) == shard.sha256:
                self._path("seals", shard).write_text(_seal(shard, file.fileno()))
                return os.dup(file.fileno())
        path.unlink(missing_ok=True)
        return None

    # --- what is not

    def _fetch(self, shard: Shard) -> int:
        self._refuse_known(shard)
        if shard.bytes > self.limit:
            raise too_small(self.root, shard.bytes, self.limit, "one shard")
        with self._locked(self.root / "evict.lock"):
            self._make_room(shard.bytes)
        for _ in range(2):  # bytes may be spoilt on the way
            handle = self._download(shard)
            if handle is not None:
                return handle
        self.counters.add(damaged=1)
        raise self._remember(shard, "content is not what the index states: SHA-256 differs, fetched twice")

    def _download(self, shard: Shard) -> int | None:
        """The whole shard under its name; None if its checksum differs."""
        part = self._path("parts", shard)
        handle = self._writing(os.open, part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        digest = hashlib.sha256()

        def take(data: bytes) -> None:
            digest.update(data)
            rest = memoryview(data)
            while rest:
                rest = rest[self._writing(os.write, handle, rest) :]

        kept = False
        try:
            self.remote.fetch(shard.file, 0, shard.bytes, take)
            if digest.hexdigest() == shard.sha256:
                self._admit(shard, part, handle)
                kept = True
                return handle
        except RemoteError:
            raise
        except DataError as error:
            raise self._remember(shard, error.what) from error
        finally:
            if not kept:
                os.close(handle)
                part.unlink(missing_ok=True)
        return None

    def _admit(self, shard: Shard, part: Path, handle: int) -> None:
        with self._locked(self.root / "evict.lock"):
            self._make_room(shard.bytes)
            part.rename(self._path("shards", shard))
        self._writing(self._path("seals", shard).write_text, _seal(shard, handle))
        self.counters.add(shards=1)

    def _make_room(self, size: int) -> None:
        """Remove the shards wanted longest ago, and parts that nobody is at."""
        found = []
        for path in self.root.glob("*/shards/*"):
            try:
                facts = path.stat()
            except FileNotFoundError:
                continue
            found.append((facts.st_atime_ns, facts.st_size, path))
        over = sum(bytes_ for _, bytes_, _ in found) + size - self.limit
        for _, bytes_, path in sorted(found):
            if over <= 0:
                break
            path.unlink(missing_ok=True)
            over -= bytes_
        for part in self.root.glob("*/parts/*"):
            try:
                with self._locked(part.parents[1] / "locks" / part.name, fcntl.LOCK_NB):
                    part.unlink(missing_ok=True)
            except BlockingIOError:
                continue

    # --- damage, disk, locks

    def _refuse_known(self, shard: Shard) -> None:
        note = self._path("damaged", shard)
        try:
            if time.time() - note.stat().st_mtime < _REMEMBER_S:
                raise self._damage(shard, note.read_text())
            note.unlink()
        except FileNotFoundError:
            return

    def _remember(self, shard: Shard, what: str) -> DataError:
        """The error for a damaged shard; other processes and later samples need not fetch it to know."""
        self._writing(self._path("damaged", shard).write_text, what)
        return self._damage(shard, what)

    def _damage(self, shard: Shard, what: str) -> DataError:
        fix = "run `mien data check` on the URL; copy or write the shard again"
        return DataError(what, where=f"{self.remote.url}/{shard.file}", fix=fix)

    def _writing(self, call: Callable[..., T], *arguments: Any) -> T:
        try:
            return call(*arguments)
        except OSError as error:
            raise RemoteError(
                f"the cache cannot be written: {error.strerror}",
                where=self.folder,
                fix="free space, lower data.remote.cache_gb, or set data.remote.cache_dir",
            ) from error

    @contextmanager
    def _locked(self, path: Path, more: int = 0) -> Iterator[None]:
        handle = self._writing(os.open, path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | more)
            yield
        finally:
            os.close(handle)


def too_small(root: Path, need: int, limit: int, what: str) -> DataError:
    """The error for a bound below what has to be there at a time."""
    return DataError(
        f"a cache of {limit / 1e9:.3g} GB is too small for {what}, {need / 1e9:.3g} GB",
        where=root,
        fix=f"set data.remote.cache_gb={need / 1e9:.3g} or more, lower data.shuffle_block, "
        "or set data.remote.fetch=range",
    )


def _seal(shard: Shard, handle: int) -> str:
    facts = os.fstat(handle)
    return f"{shard.sha256} {_boot()} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns}"


def _boot() -> str:
    """Of this boot; after a power cut files may be torn, so seals of other boots do not count."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"
