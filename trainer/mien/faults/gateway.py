"""A gateway in front of an object store that misbehaves by chance: 500s, dripping bytes, resets."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

_ERROR = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>try again</Message></Error>"
_CUT = struct.pack("ii", 1, 0)
_HOP = {"connection", "transfer-encoding", "content-length", "server", "date"}
Reply = tuple[int, list[tuple[str, str]], bytes]


class Gateway:
    """Passes GET and HEAD on to a store; some requests go wrong.

    Args:
        store: address of the store, `http://host:port`.
        kind: a key of `KINDS`.
        share: fraction of requests that go wrong, in [0, 1]; the second does in any case, unless it is 0.
        chance: chooses them.
    """

    def __init__(self, store: str, kind: str, share: float, chance: random.Random) -> None:
        self.hurt: Counter[str] = Counter()
        """Requests that went wrong, and all, as `wrong` and `all`."""
        bound = {"store": urlsplit(store).netloc, "fault": staticmethod(KINDS[kind]), "share": share}
        self._handler: Any = type("Bound", (_Handler,), bound | {"chance": chance, "hurt": self.hurt})
        self._server = _Server(("127.0.0.1", 0), self._handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        """Address without a path."""

    def __enter__(self) -> Gateway:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handler.away = True
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is what these faults are for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    store: str
    share: float
    fault: Callable[[_Handler, Reply], None]
    chance: random.Random
    hurt: Counter[str]
    away = False
    """Also for those that hold a connection."""
    lock = threading.Lock()

    def do_GET(self) -> None:
        """The store's reply, or a fault."""
        if self.away:
            self.close_connection = True
            return
        upstream = http.client.HTTPConnection(self.store)
        upstream.request(self.command, self.path, headers=dict(self.headers.items()))
        reply = upstream.getresponse()
        got = (reply.status, reply.getheaders(), reply.read())
        upstream.close()
        with self.lock:
            second = self.hurt["all"] == 1 and self.share > 0
            wrong = self.chance.random() < self.share or second
            self.hurt.update(all=1, wrong=int(wrong))
        if wrong:
            self.close_connection = True
            type(self).fault(self, got)
        else:
            self.send(got)

    do_HEAD = do_GET

    def send(self, reply: Reply, body: bool = True) -> None:
        """Head, and body if there is one and it is wanted."""
        status, headers, data = reply
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        length = {name.lower(): value for name, value in headers}.get("content-length", str(len(data)))
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


def _busy(handler: _Handler, reply: Reply) -> None:
    """Status 500, as a store under load sends it."""
    handler.send((500, [("Content-Type", "application/xml")], _ERROR))


def _drip(handler: _Handler, reply: Reply) -> None:
    """The right head, then a byte every tenth of a second until the client gives up."""
    handler.send(reply, body=False)
    with contextlib.suppress(OSError):
        for byte in reply[2]:
            handler.wfile.write(bytes([byte]))
            time.sleep(0.1)


def _reset(handler: _Handler, reply: Reply) -> None:
    """The right head and a part of the body, then RST."""
    handler.send(reply, body=False)
    if handler.command != "HEAD":
        handler.wfile.write(reply[2][: int(handler.chance.random() * len(reply[2]))])
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CUT)
    handler.connection.close()


KINDS: dict[str, Callable[[_Handler, Reply], None]] = {"500": _busy, "drip": _drip, "reset": _reset}
"""Faults by name."""
