"""Servers on localhost that the benchmark and tests read from, each in a process of its own.

Both count the bytes of their replies by the first part of the path: a folder's name over HTTP, a bucket over
S3. So clients that use different names for the same files are told apart, such as two nodes.

`http`: a folder, with keep-alive and byte ranges. `s3`: moto's S3, signed requests and all, in memory.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

COUNTS = "/-/counts"
"""Path that replies with the counts, as JSON."""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}
"""What moto takes; a client also needs AWS_ENDPOINT_URL."""


class Server:
    """A running server; ends with the `with` block, or with this process.

    Args:
        kind: `http` or `s3`.
        folder: what to serve over HTTP; S3 starts empty.
    """

    def __init__(self, kind: str, folder: Path | None = None) -> None:
        command = [sys.executable, "-m", "mien.data.bench_servers", kind, str(folder or "")]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        """Address without a path."""
        if not self.url:
            raise RuntimeError(f"the {kind} server did not start")

    def counts(self) -> Counter[str]:
        """Bytes of replies so far, by name."""
        with urllib.request.urlopen(self.url + COUNTS) as reply:
            return Counter(json.load(reply))

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def upload(folder: Path, bucket: str, endpoint: str) -> None:
    """Make a bucket and put a set into it, below `set/`."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=bucket)
    for path in sorted(folder.iterdir()):
        if path.is_file():
            client.put_object(Bucket=bucket, Key=f"set/{path.name}", Body=path.read_bytes())


class FolderHandler(BaseHTTPRequestHandler):
    """GET of `/<any name>/<file>`, whole or one range.

    Attributes:
        folder: where files are.
        counts: bytes of bodies by name.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a small body waits 40 ms for the client to acknowledge the head
    folder: Path
    counts: Counter[str]
    lock = threading.Lock()

    def do_GET(self) -> None:
        """Reply with a file, a range of it, or the counts."""
        if self.path == COUNTS:
            return self.reply(200, json.dumps(self.counts).encode())
        _, name, file = (self.path + "//").split("/", 2)
        path = self.folder / os.path.basename(file.strip("/"))
        if not path.is_file():
            return self.reply(404, b"")
        with path.open("rb") as content:
            size = os.fstat(content.fileno()).st_size
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            start, stop = (int(wanted[1]), min(int(wanted[2]) + 1, size)) if wanted else (0, size)
            if wanted and start >= size:
                return self.reply(416, b"")
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            self.send_header("Content-Length", str(stop - start))
            self.end_headers()
            self.wfile.flush()
            self.connection.sendfile(content, start, stop - start) if stop > start else None
        with self.lock:
            self.counts[name] += stop - start
        return None

    def reply(self, status: int, body: bytes) -> None:
        """A small reply."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


class _FolderServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # else connections made side by side wait seconds for the kernel to try again


def folder_server(folder: Path, handler: type[FolderHandler] = FolderHandler) -> ThreadingHTTPServer:
    """A server of a folder on a free port of localhost; `serve_forever` is left to the caller."""
    bound = type("Bound", (handler,), {"folder": folder, "counts": Counter()})
    return _FolderServer(("127.0.0.1", 0), bound)


def _counting(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """A WSGI application that counts the bytes of GET replies by bucket."""
    counts: Counter[str] = Counter()
    lock = threading.Lock()

    def counted(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == COUNTS:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(counts).encode()]
        body = b"".join(app(environ, start_response))
        if environ["REQUEST_METHOD"] == "GET":
            with lock:
                counts[environ["PATH_INFO"].split("/")[1]] += len(body)
        return [body]

    return counted


def _serve_s3() -> None:
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    MotoRequestHandler.protocol_version = "HTTP/1.1"
    MotoRequestHandler.disable_nagle_algorithm = True
    app = _counting(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


def main() -> None:
    """Serve until standard input closes, which it does when the parent ends."""
    kind, folder = sys.argv[1:3]
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    if kind == "s3":
        return _serve_s3()
    server = folder_server(Path(folder))
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    return server.serve_forever()


if __name__ == "__main__":
    main()
