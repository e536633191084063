"""A chat completions endpoint on a real socket that does what a script tells it, request by request."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD: dict[str, Any] = {
    "global": "The face shows clear joy.",
    "locals": [
        {
            "text": "The lip corners are clearly pulled up, suggesting joy.",
            "region": "mouth",
            "au": [12],
            "intensity": "moderate",
        },
        {
            "text": "The cheeks are slightly lifted, in line with joy.",
            "region": "cheeks",
            "au": [6],
            "intensity": "low",
        },
        {
            "text": "The brows are not furrowed, leaving this area at rest.",
            "region": "brows",
            "au": [],
            "intensity": None,
        },
    ],
    "summary": "Overall, the raised cheeks and the smile point to joy.",
}


def chat(content: Any, usage: dict[str, int] | None = None, **message: Any) -> bytes:
    """A reply of the protocol."""
    text = content if isinstance(content, str) or content is None else json.dumps(content)
    body: dict[str, Any] = {
        "choices": [{"message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}]
    }
    body["usage"] = usage or {"prompt_tokens": 1000, "completion_tokens": 200}
    return json.dumps(body).encode()


class CaptionServer:
    """Plays `script` in order, then its last entry for ever; keeps what it was asked."""

    def __init__(self, script: list[Any]) -> None:
        self.script = script
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()

    @property
    def count(self) -> int:
        return len(self.asked)


@contextmanager
def serving(*script: Any) -> Iterator[tuple[CaptionServer, str]]:
    """A server and its base URL. Entries: bytes (a good reply), or a function of the handler."""
    state = CaptionServer(list(script))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with state.lock:
                act = state.script[min(state.count, len(state.script) - 1)]
                state.asked.append(json.loads(body))
                state.headers.append(dict(self.headers))
                state.times.append(time.monotonic())
                state.under_way += 1
                state.most_under_way = max(state.most_under_way, state.under_way)
            try:
                if isinstance(act, bytes):
                    send(self, act)
                else:
                    act(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with state.lock:
                    state.under_way -= 1

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state, f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(
    handler: BaseHTTPRequestHandler,
    body: bytes,
    status: int = 200,
    kind: str = "application/json",
    **headers: str,
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def status(code: int, message: str = "no", **headers: str) -> Any:
    body = json.dumps({"error": {"message": message}}).encode()
    return lambda handler: send(handler, body, code, **headers)


def silent(seconds: float) -> Any:
    return lambda handler: time.sleep(seconds) or send(handler, chat(GOOD))


def reset(handler: BaseHTTPRequestHandler) -> None:
    """Closes with RST instead of FIN."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.rfile.close()
    handler.wfile.close()
    handler.connection.close()
    handler.close_connection = True


def cut(handler: BaseHTTPRequestHandler) -> None:
    """Promises more bytes than it sends."""
    body = chat(GOOD)
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def huge(handler: BaseHTTPRequestHandler) -> None:
    """Chunks without end."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    block = b" " * 65536
    for _ in range(2000):
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then, each in time."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)
