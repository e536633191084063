"""Bytes of a remote file, one request a time: HTTP by aiohttp's stream, everything else by fsspec.

A transport belongs to the process that made it: fsspec's event loop does not survive a fork. Requests are
made through fsspec's own file systems, so proxies, `.netrc`, `AWS_*` variables and fsspec's configuration
work as those libraries document it. Their own retries are switched off, since `Retry` counts and bounds them.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import Context
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from mien.data.retry import BrokenReply, HttpStatus, RemoteError
from mien.errors import DataError

T = TypeVar("T")

PIECE = 8 << 20
"""Bytes that one timeout is for."""

_CHUNK = 256 << 10
_REDIRECTS = 5
_BESIDE = 16
_INSTALL = "pip install 'mien[remote]'"

Sink = Callable[[bytes], object]
"""Takes the bytes as they come."""


class Transport(Protocol):
    """What a kind of file system can do; every failure is one of `retry.library_errors()`."""

    def size(self, folder: str, file: str) -> int:
        """Bytes in a file; FileNotFoundError if there is none."""

    def pull(self, folder: str, file: str, start: int, stop: int, sink: Sink, ranged: bool) -> None:
        """Bytes [start, stop) into `sink`, in order and as they come; BrokenReply if the file ends early.

        `ranged` refuses a server that sends the file from its beginning whatever is asked for.
        """

    def start(self, folder: str, file: str, start: int, stop: int) -> Future[bytes] | None:
        """Begin to fetch a range, beside others; None where the file system can only wait."""


def connect(url: str, timeout_s: float) -> Transport:
    """The transport for a URL, for this process.

    Raises:
        DataError: for a kind of URL that fsspec does not know, or whose package is not installed.
    """
    try:
        import fsspec
    except ImportError as error:
        raise DataError("reading a URL needs fsspec", where=url, fix=_INSTALL) from error
    protocol = url.partition("://")[0]
    try:
        files = fsspec.filesystem(protocol, skip_instance_cache=True, **_options(protocol, timeout_s))
    except ValueError as error:
        known = "http, https, s3 and what fsspec lists in its documentation"
        raise DataError(f"no file system called {protocol!r}", where=url, fix=f"there are {known}") from error
    except ImportError as error:
        fix = _INSTALL if protocol in ("http", "https", "s3", "s3a") else str(error)
        raise DataError(f"{protocol}:// needs a package that is not installed", where=url, fix=fix) from error
    _stay_with_process(files)
    if protocol in ("http", "https"):
        return _Http(files, timeout_s)
    if protocol in ("s3", "s3a"):
        files.retries = 1
    return _Fsspec(files, timeout_s)


_LEFT_BEHIND: list[Any] = []
"""Sessions of the process that this one was forked from."""


def _stay_with_process(files: Any) -> None:
    """Never close a file system's session from a fork of the process that opened it.

    Its event loop does not run there, so fsspec would wait a second for it; and closing sockets would take
    them out of the epoll instance that both processes share, under the parent's hands.
    """
    close, owner = getattr(files, "close_session", None), os.getpid()
    if close is None:
        return

    def close_session(loop: Any, session: Any) -> None:
        if os.getpid() == owner:
            close(loop, session)
        else:
            _LEFT_BEHIND.append(session)  # its own destructor would close too

    files.close_session = close_session


def _options(protocol: str, timeout_s: float) -> dict[str, Any]:
    """Of the file system: no retries, no time limits and no caches but ours."""
    if protocol in ("http", "https"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s)
        return {"client_kwargs": {"trust_env": True, "auto_decompress": False, "timeout": timeout}}
    if protocol in ("s3", "s3a"):
        config = {
            "retries": {"total_max_attempts": 1},
            "connect_timeout": timeout_s,
            "response_checksum_validation": "when_required",  # the index has a stronger one
        }
        return {"config_kwargs": config, "use_listings_cache": False}
    return {}


class _Fsspec:
    """Any fsspec file system, by `cat_file` in pieces."""

    def __init__(self, files: Any, timeout_s: float) -> None:
        self._files = files
        self._timeout_s = timeout_s
        self._gate = asyncio.Semaphore(_BESIDE)

    def size(self, folder: str, file: str) -> int:
        return int(self._call("info", f"{folder}/{file}")["size"])

    def pull(self, folder: str, file: str, start: int, stop: int, sink: Sink, ranged: bool) -> None:
        for first in range(start, stop, PIECE):
            last = min(first + PIECE, stop)
            data = self._call("cat_file", f"{folder}/{file}", start=first, end=last)
            sink(data[: last - first])
            if len(data) != last - first:
                raise BrokenReply(f"{len(data)} bytes of {last - first}")

    def start(self, folder: str, file: str, start: int, stop: int) -> Future[bytes] | None:
        if not self._files.async_impl:
            return None

        async def fetch() -> bytes:
            async with self._gate:
                data: bytes = await self._timed("cat_file", f"{folder}/{file}", start=start, end=stop)
            if len(data) != stop - start:
                raise BrokenReply(f"{len(data)} bytes of {stop - start}")
            return data

        return _submit(self._files.loop, fetch())

    def _call(self, name: str, path: str, **options: int) -> Any:
        if not self._files.async_impl:
            return getattr(self._files, name)(path, **options)
        return _wait(self._files.loop, partial(self._timed, name, path, **options))

    async def _timed(self, name: str, path: str, **options: int) -> Any:
        return await asyncio.wait_for(getattr(self._files, f"_{name}")(path, **options), self._timeout_s)


class _Http:
    """HTTP and HTTPS: one streamed reply for any length, memory of one chunk."""

    def __init__(self, files: Any, timeout_s: float) -> None:
        self._files = files
        self._timeout_s = timeout_s
        self._gate = asyncio.Semaphore(_BESIDE)

    def size(self, folder: str, file: str) -> int:
        return int(self._run(self._size, f"{folder}/{quote(file)}"))

    def pull(self, folder: str, file: str, start: int, stop: int, sink: Sink, ranged: bool) -> None:
        self._run(self._pull, f"{folder}/{quote(file)}", start, stop, sink, ranged)

    def start(self, folder: str, file: str, start: int, stop: int) -> Future[bytes]:
        async def fetch() -> bytes:
            data = bytearray()
            async with self._gate:
                await self._pull(f"{folder}/{quote(file)}", start, stop, data.extend, True)
            return bytes(data)

        return _submit(self._files.loop, fetch())

    def _run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return _wait(self._files.loop, partial(work, *arguments))

    async def _size(self, url: str) -> int:
        async with asyncio.timeout(self._timeout_s), await self._get(url, 0, 1) as reply:
            if reply.status == 206:
                total = re.fullmatch(r"bytes 0-\d+/(\d+)", reply.headers.get("Content-Range", ""))
                await reply.content.read(1)
                if total is not None:
                    return int(total[1])
            elif reply.content_length is not None:
                return int(reply.content_length)
            raise BrokenReply("the reply does not state the size of the file")

    async def _pull(self, url: str, start: int, stop: int, sink: Sink, ranged: bool) -> None:
        place = start
        async with asyncio.timeout(self._timeout_s) as limit, await self._get(url, start, stop) as reply:
            skip = start if reply.status == 200 else 0  # a server that knows no ranges sends it all
            if skip and ranged:
                what = "the server sends whole files, not the ranges that are asked for"
                raise RemoteError(what, where=url, fix="set data.remote.fetch=shard")
            paid = 0
            while place < stop:
                data = await reply.content.read(min(_CHUNK, skip or stop - place))
                if not data:
                    raise BrokenReply(f"{place - start} bytes of {stop - start}")
                paid += len(data)
                if paid >= PIECE:
                    limit.reschedule(asyncio.get_running_loop().time() + self._timeout_s)
                    paid = 0
                if skip:
                    skip -= len(data)
                    continue
                sink(data)
                place += len(data)

    async def _get(self, url: str, start: int, stop: int) -> Any:
        """The reply to a request for [start, stop), 200 or 206; it may hold more."""
        session = await self._files.set_session()
        headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        reply = await session.get(self._files.encode_url(url), headers=headers, max_redirects=_REDIRECTS)
        try:
            _judge(reply, start)
        except OSError:
            reply.close()
            raise
        return reply


def _submit(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run a coroutine on fsspec's loop, in an empty context.

    Connections outlive the call and would keep its context variables alive: a batch's image memory is one.
    """
    return Context().run(asyncio.run_coroutine_threadsafe, work, loop)


def _wait(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """As `_submit`, and wait for the result."""
    return _submit(loop, work()).result()


def _judge(reply: Any, start: int) -> None:
    """Raise for a reply that is no answer."""
    if reply.status == 404 or reply.status == 410:
        raise FileNotFoundError(str(reply.url))
    if reply.status not in (200, 206):
        raise HttpStatus(reply.status)
    schemes = [hop.url.scheme for hop in reply.history] + [reply.url.scheme]
    if "https" in schemes and schemes[-1] != "https":
        raise PermissionError("redirected from https to http, which anybody on the way could change")
    if reply.headers.get("Content-Encoding", "identity") != "identity":
        raise BrokenReply(f"the reply is encoded as {reply.headers['Content-Encoding']}")
    if reply.status == 206 and not reply.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise BrokenReply("the reply is another range than asked for")
