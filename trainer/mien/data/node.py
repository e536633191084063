"""What the processes of a node share on its disk: the cache folder, and counters of what was fetched."""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
from pathlib import Path

from mien.errors import DataError

_FORM = struct.Struct("<4q")


def cache_root(configured: str | None) -> Path:
    """The cache folder of a recipe, made if absent; only this user can write to it.

    Args:
        configured: `data.remote.cache_dir`; None is $MIEN_CACHE, or else a folder in the temporary one.

    Raises:
        DataError: if it cannot be made, or belongs to another user.
    """
    default = Path(tempfile.gettempdir()) / f"mien-cache-{os.getuid()}"
    root = Path(configured or os.environ.get("MIEN_CACHE") or default).absolute()
    fix = "set data.remote.cache_dir to a folder of your own on a disk of the node"
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = root.lstat().st_uid  # of a link that somebody laid there, not of what it leads to
    except OSError as error:
        raise DataError(f"no cache there: {error.strerror}", where=root, fix=fix) from error
    if owner != os.getuid():
        raise DataError("the cache belongs to another user", where=root, fix=fix)
    return root


class Counters:
    """Requests, bytes, whole shards and damaged shards that the processes of a node have fetched.

    Args:
        file: 32 bytes, made by the first `add`; survives the processes.
    """

    NAMES = ("requests", "bytes", "shards", "damaged")

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, **more: int) -> None:
        """Add to counters, at once over all processes."""
        handle = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            sums = [old + more.get(name, 0) for name, old in zip(self.NAMES, _read(handle), strict=True)]
            os.pwrite(handle, _FORM.pack(*sums), 0)
        finally:
            os.close(handle)

    def read(self) -> dict[str, int]:
        """The sums so far."""
        try:
            handle = os.open(self.file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return dict.fromkeys(self.NAMES, 0)
        try:
            return dict(zip(self.NAMES, _read(handle), strict=True))
        finally:
            os.close(handle)


def _read(handle: int) -> tuple[int, ...]:
    data = os.pread(handle, _FORM.size, 0)
    return _FORM.unpack(data) if len(data) == _FORM.size else (0,) * 4
