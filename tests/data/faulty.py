"""A web server that misbehaves as it is told, in a thread of the test's process."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mien.data import retry
from mien.data.bench_servers import FolderHandler, folder_server

Fault = Callable[["FaultyHandler", Path], object]
"""Handles a request for a file in the server's stead; returns "serve" to let it."""


class FaultyHandler(FolderHandler):
    """Serves a folder; before that, `fault` may do something else.

    Attributes:
        fault: called for each request for a file that `only` ends with.
        asked: (file, Range header) of every request.
    """

    fault: Fault | None
    only: str
    asked: list[tuple[str, str | None]]

    def do_GET(self):
        path = self.folder / os.path.basename(self.path)
        self.asked.append((path.name, self.headers.get("Range")))
        if self.fault is not None and path.name.endswith(self.only):
            handled = type(self).fault(self, path)  # not bound: the attribute is a plain function
            if handled != "serve":
                self.close_connection = True
                return None
        return super().do_GET()


class Faulty:
    """A running faulty server."""

    def __init__(self, folder: Path, fault: Fault | None = None, only: str = ".tar") -> None:
        self._server = folder_server(folder, FaultyHandler)
        self.handler = self._server.RequestHandlerClass
        self.handler.fault, self.handler.only, self.handler.asked = fault, only, []
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.address}/set"

    def asked(self, file: str) -> list[str | None]:
        """Range of each request for a file."""
        return [wanted for name, wanted in self.handler.asked if name == file]

    def stop(self) -> None:
        """Also for those that hold a connection."""
        self.handler.only, self.handler.fault = "", lambda handler, path: None
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def faulty(folder: Path, fault: Fault | None = None, only: str = ".tar") -> Iterator[Faulty]:
    """A server for the length of a `with` block."""
    server = Faulty(folder, fault, only)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    """Back off for milliseconds; import it into a module of tests."""
    monkeypatch.setattr(retry, "_FIRST_S", 0.001)


def status(number: int, times: int = 10**9) -> Fault:
    """An error reply, the first `times` times."""
    left = [times]

    def fault(handler: FaultyHandler, path: Path) -> object:
        left[0] -= 1
        return handler.reply(number, b"no") if left[0] >= 0 else "serve"

    return fault


def cut(length: int, times: int = 10**9, reset: bool = True) -> Fault:
    """The right headers and `length` bytes, then a reset or an orderly end, the first `times` times."""
    left = [times]

    def fault(handler: FaultyHandler, path: Path) -> object:
        left[0] -= 1
        if left[0] < 0:
            return "serve"
        _head(handler, path)
        start = int((handler.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        handler.wfile.write(path.read_bytes()[start : start + length])
        handler.wfile.flush()
        if reset:
            linger = struct.pack("ii", 1, 0)  # close with RST
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.connection.close()
        return None

    return fault


def drip(handler: FaultyHandler, path: Path) -> object:
    """A byte every tenth of a second."""
    _head(handler, path)
    with contextlib.suppress(OSError):
        for byte in path.read_bytes()[:100]:
            handler.wfile.write(bytes([byte]))
            time.sleep(0.1)


def wrong(times: int = 10**9) -> Fault:
    """As many bytes as there should be, one of them another, the first `times` times."""
    left = [times]

    def fault(handler: FaultyHandler, path: Path) -> object:
        left[0] -= 1
        if left[0] < 0:
            return "serve"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        handler.reply(200, bytes(data))
        return None

    return fault


def whole(handler: FaultyHandler, path: Path) -> object:
    """A server that knows no ranges."""
    handler.reply(200, path.read_bytes())


def redirect(to: str) -> Fault:
    """Elsewhere, under the same file name."""

    def fault(handler: FaultyHandler, path: Path) -> object:
        handler.send_response(302)
        handler.send_header("Location", f"{to}/{path.name}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return fault


def _head(handler: FaultyHandler, path: Path) -> None:
    size = path.stat().st_size
    start = int((handler.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
    handler.send_header("Content-Length", str(size - start))
    handler.end_headers()
