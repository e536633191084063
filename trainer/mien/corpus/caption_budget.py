"""Money: a hard limit over all threads, processes and restarts that share a folder."""

from __future__ import annotations

import fcntl
import json
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.corpus.caption import CaptionError

FILE = "spent.jsonl"
"""Each line is an amount in US dollars: what a request costs at most, then the difference to what it did."""


class Budget:
    """An account of which each request sets aside the most it can cost before it is sent.

    The account is a text file, locked while it is read and written (`flock`; a folder that several machines
    share needs locks that work there). A process that is killed leaves what it had set aside as spent.

    Args:
        folder: where the account lies; made if absent. None: the account dies with the process.
        limit: US dollars at most, in all; None only counts.
    """

    def __init__(self, folder: Path | None, limit: float | None) -> None:
        self.limit = limit
        self._spent, self._read = 0.0, 0
        self._path = folder / FILE if folder else None
        self._lock = threading.Lock()

    def reserve(self, usd: float) -> None:
        """Set `usd` aside.

        Raises:
            CaptionError: reason `budget`, if more would be spent and set aside than the limit.
        """
        with self._account() as book:
            if self.limit is not None and self._spent + usd > self.limit:
                what = f"budget of {self.limit:g} USD: {self._spent:.4f} are spent or set aside"
                fix = "raise budget_usd and run again; what is done is kept"
                raise CaptionError(what, reason="budget", where=self._path or "", fix=fix)
            self._write(book, usd)

    def settle(self, reserved: float, usd: float) -> None:
        """Say what a request has cost for which `reserved` had been set aside."""
        with self._account() as book:
            self._write(book, usd - reserved)

    def spent(self) -> float:
        """US dollars spent or set aside so far, by everybody."""
        with self._account():
            return self._spent

    @contextmanager
    def _account(self) -> Iterator[int | None]:
        """The file, locked and read up to its end."""
        with self._lock:
            if self._path is None:
                yield None
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            book = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(book, fcntl.LOCK_EX)
                self._catch_up(book)
                yield book
            finally:
                os.close(book)

    def _catch_up(self, book: int) -> None:
        while data := os.pread(book, 1 << 20, self._read):
            lines, newline, _ = data.rpartition(b"\n")
            for line in lines.split(b"\n"):
                self._spent += _amount(line)
            if not newline:
                return
            self._read += len(lines) + 1

    def _write(self, book: int | None, usd: float) -> None:
        if book is None:
            self._spent += usd
        else:
            # The first line end closes what a full disk may have left half-written.
            os.write(book, b"\n" + json.dumps({"usd": usd}).encode() + b"\n")


def _amount(line: bytes) -> float:
    """What a line says; a torn one says nothing."""
    try:
        usd = json.loads(line)["usd"]
    except (ValueError, KeyError, TypeError):
        return 0.0
    return float(usd) if isinstance(usd, int | float) and math.isfinite(usd) else 0.0
