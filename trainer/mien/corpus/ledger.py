"""What a stage found in one movie: JSON lines, appended unit by unit, renamed when complete.

    {"ledger": "faces", "key": "..."}
    {"shot": 0, ...}                 rows of the first unit
    {"unit": 0}                      which is complete
    {"done": true, "counts": {...}}

While it grows it has the suffix `.part`. A killed stage keeps its complete units; rows after the last of
them, and a torn line, are cut off. A ledger whose key differs belongs to other options or another input and
is made anew. Plain files and renames are all it needs, so it is safe on NFS as long as one process writes a
movie: `locked` sees to that.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.errors import DataError

Row = dict[str, Any]

LARGEST = 2 << 30
"""Largest ledger that is read, in bytes."""

PATIENCE_S = 20.0
"""Seconds to wait for another process to leave a movie, such as one that is just ending."""


@dataclass(frozen=True)
class Ledger:
    """A complete ledger: its rows in order and the stage's counts by reason."""

    key: str
    rows: list[Row]
    counts: Counter[str]


def read(path: Path, key: str | None = None) -> Ledger | None:
    """A complete ledger; None if it is absent or has another key.

    Raises:
        DataError: if the file is damaged.
    """
    if not path.is_file():
        return None
    if path.stat().st_size > LARGEST:
        raise DataError(f"ledger of more than {LARGEST} bytes", where=path, fix="delete it; it is made anew")
    lines = path.read_bytes().split(b"\n")
    try:
        head, last = json.loads(lines[0]), json.loads(lines[-2])
        if key is not None and head["key"] != key:
            return None
        rows = [row for row in map(json.loads, lines[1:-2]) if "unit" not in row]
        return Ledger(head["key"], rows, Counter(last["counts"]))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise DataError("damaged ledger", where=path, fix="delete it; the stage makes it anew") from error


class Writer:
    """Appends to the ledger of a stage, going on after the last complete unit of an earlier life.

    Attributes:
        done: the last complete unit, -1 if there is none.
        rows: rows of the complete units of earlier lives.
    """

    def __init__(self, path: Path, stage: str, key: str) -> None:
        self.path = path
        self._part = path.with_name(path.name + ".part")
        head = json.dumps({"ledger": stage, "key": key}).encode() + b"\n"
        self.rows, self.done, size = _recover(self._part, head)
        self._file = self._part.open("r+b" if size else "wb")
        self._file.truncate(size)
        self._file.seek(size)
        if not size:
            self._file.write(head)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row of the unit in work."""
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def close_unit(self, unit: int) -> None:
        """Mark a unit complete; it outlives a kill from here on."""
        self.add({"unit": unit})
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self, counts: Mapping[str, int]) -> None:
        """Write the counts and put the ledger under its name."""
        self.add({"done": True, "counts": dict(counts)})
        self._file.flush()
        os.fsync(self._file.fileno())
        self._part.replace(self.path)


def _recover(path: Path, head: bytes) -> tuple[list[Row], int, int]:
    """Rows of the complete units, the last of them, and the bytes that they take; ([], -1, 0) anew."""
    if not path.is_file() or path.stat().st_size > LARGEST:
        return [], -1, 0
    data = path.read_bytes()
    if not data.startswith(head):
        return [], -1, 0
    rows, pending, done, size, at = list[Row](), list[Row](), -1, len(head), len(head)
    while (end := data.find(b"\n", at)) >= 0:
        try:
            row = json.loads(data[at:end])
        except ValueError:
            break
        at = end + 1
        if "unit" in row:
            rows += pending
            pending, done, size = [], row["unit"], at
        else:
            pending.append(row)
    return rows, done, size


@contextlib.contextmanager
def locked(folder: Path, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Keep a folder to this process within the block; a killed process gives it up.

    Raises:
        DataError: if another process has it and keeps it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + patience_s
        while not _take(handle):
            if time.monotonic() > deadline:
                fix = "wait for it, or give each job its own --part"
                raise DataError("another process works here", where=folder, fix=fix)
            time.sleep(0.1)
        yield
    finally:
        os.close(handle)


def _take(handle: int) -> bool:
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # A file system without locks: then only `--part` keeps jobs apart.
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True
