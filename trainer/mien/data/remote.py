"""The files of a set behind a URL, with retries and counters: the only place that asks a server for bytes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any

from mien.data.location import within
from mien.data.node import Counters
from mien.data.retry import BrokenReply, Retry, library_errors, transient
from mien.data.transport import Sink, Transport, connect
from mien.errors import DataError

_PROGRESS = 1 << 20
_MEND = "run `mien data check` on the URL; copy or write the shard again"


class Remote:
    """Files below a URL. Safe across fork and pickling: each process connects at its own first request.

    Args:
        url: folder of the set, from `locate`.
        attempts: see `Retry`.
        timeout_s: seconds for a request of at most `transport.PIECE` bytes.
    """

    counters: Counters | None = None
    """Of the node, once there is a cache."""

    def __init__(self, url: str, attempts: int, timeout_s: float) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self.retry = Retry(attempts)
        # A queue, not two sums: several threads fetch, and each entry is taken once. No lock: we fork.
        self._taken: deque[int] = deque()
        self._transport: Transport | None = None
        self._pid = -1

    def size(self, file: str) -> int | None:
        """Bytes in a file, None if it is absent.

        Raises:
            RemoteError: if the server cannot be read.
        """
        transport = self._connected()
        try:
            return self.retry.call(lambda: transport.size(self.url, file), within(self.url, file))
        except FileNotFoundError:
            return None

    def read(self, file: str, start: int, stop: int, *, ranged: bool = True) -> bytes:
        """Bytes [start, stop) of a file.

        Args:
            file: name inside the set.
            start: first byte.
            stop: behind the last byte.
            ranged: refuse a server that ignores ranges.

        Raises:
            RemoteError: if the server cannot be read.
            DataError: if the file is absent or ends early.
        """
        data = bytearray()
        self.fetch(file, start, stop, data.extend, ranged=ranged)
        return bytes(data)

    def fetch(self, file: str, start: int, stop: int, sink: Sink, *, ranged: bool = False) -> None:
        """Bytes [start, stop) of a file into `sink`, in order; goes on where a connection broke.

        Raises:
            RemoteError: if the server cannot be read.
            DataError: if the file is absent or ends early.
        """
        leg = _Leg(self, file, start, stop, sink, ranged)
        where = within(self.url, file)
        try:
            while leg.place < stop:
                self.retry.call(leg.run, where)
        except FileNotFoundError as error:
            raise DataError("shard file is missing", where=where, fix="copy it to the server") from error

    def start(self, file: str, start: int, stop: int) -> Callable[[], bytes]:
        """Begin to read a range, beside others; call what is returned to have the bytes, as from `read`."""
        coming = self._connected().start(self.url, file, start, stop)

        def finish() -> bytes:
            if coming is not None:
                try:
                    data = coming.result()
                    self._count(len(data))
                    return data
                except library_errors() as error:
                    if transient(error):
                        self.retry.note(error, within(self.url, file))
            return self.read(file, start, stop)

        return finish

    def _count(self, data: int) -> None:
        self._taken.append(data)

    def flush(self) -> None:
        """Hand over what was counted; `start` leaves it to the caller to do so once for many ranges."""
        if self.counters is None:
            return
        requests = total = 0
        while True:
            try:
                total += self._taken.popleft()
            except IndexError:
                break
            requests += 1
        if requests:
            self.counters.add(requests=requests, bytes=total)

    def _connected(self) -> Transport:
        if self._transport is None or self._pid != os.getpid():
            self._transport, self._pid = connect(self.url, self.timeout_s), os.getpid()
        return self._transport

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_transport": None}


class _Leg:
    """Transfers of one range, each from where the last one ended."""

    def __init__(self, remote: Remote, file: str, start: int, stop: int, sink: Sink, ranged: bool) -> None:
        self.place = start
        self._remote = remote
        self._file = file
        self._stop = stop
        self._sink = sink
        self._ranged = ranged

    def run(self) -> None:
        """One request; a broken one that brought enough returns, so that attempts are counted anew."""
        before, remote = self.place, self._remote
        try:
            remote._connected().pull(remote.url, self._file, before, self._stop, self._take, self._ranged)
        except library_errors() as error:
            if isinstance(error, BrokenReply) or getattr(error, "status", None) == 416:
                self._is_there()
            if not transient(error) or self.place - before < _PROGRESS:
                raise
            remote.retry.note(error, within(remote.url, self._file))
        finally:
            remote._count(self.place - before)
            remote.flush()

    def _take(self, data: bytes) -> None:
        self._sink(data)
        self.place += len(data)

    def _is_there(self) -> None:
        """Tell a file that is too short, which no patience mends, from a reply that was."""
        remote = self._remote
        found = remote._connected().size(remote.url, self._file)
        if found < self._stop:
            what = f"ends before byte {self._stop}: it has {found} on the server"
            raise DataError(what, where=within(remote.url, self._file), fix=_MEND)
