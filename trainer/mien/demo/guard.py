"""What the page answers to at all: its own routes, asked by their own name, and nothing of other servers.

Gradio brings routes that a page of one's own machine has no use for: one that fetches any address, one that
changes the page's code, histories, schemas of an API. What is not listed here is not there.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

ROUTES = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|pwa_icon(/\w+)?)/?|/(assets|static|svelte)/.+"
    r"|/gradio_api/(upload|upload_progress|queue/join|queue/data|cancel|reset|startup-events|app_id|theme\.css)/?"
    r"|/gradio_api/heartbeat/\w+|/gradio_api/file=(?!\w+:).+"
)
"""Paths that the page needs; a file is a path, never an address."""
HOSTS = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?")
"""Names that the machine has for itself: a name of a stranger's that leads here reads nothing."""
POLICY = "; ".join(
    (
        "default-src 'self'", "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'", "img-src 'self' data: blob:", "font-src 'self' data:",
        "connect-src 'self' data: blob:", "worker-src 'self' blob:", "frame-ancestors 'none'",
        "form-action 'self'",
    )
)  # fmt: skip
"""Content-Security-Policy: a browser asks no other server for anything."""
_FORM = 1 << 20  # what a form may add to a file, bytes
_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Guard:
    """An ASGI layer before Gradio.

    Args:
        app: what is guarded.
        largest: longest file of a request, bytes.
    """

    def __init__(self, app: App, largest: int) -> None:
        self.app, self.largest = app, largest

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with one line."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refused = self._refused(scope)
        if refused is not None:
            if refused[0] == 413:
                await _read_away(receive)
            await _answer(send, *refused)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        await self.app(scope, receive, sealed)

    def _refused(self, scope: Message) -> tuple[int, str] | None:
        headers = dict(scope["headers"])
        if scope["type"] != "http" or not ROUTES.fullmatch(scope["path"]):
            return 404, "not part of this page"
        if not HOSTS.fullmatch(headers.get(b"host", b"").decode("latin-1")):
            return 400, "this page answers to 127.0.0.1 and localhost alone"
        origin = headers.get(b"origin", b"http://localhost").decode("latin-1")
        if not HOSTS.fullmatch(origin.removeprefix("http://")):
            return 403, "this page takes nothing from other pages"
        length = headers.get(b"content-length", b"0").decode("latin-1")
        if not length.isdigit() or int(length) > self.largest + _FORM:
            return 413, f"upload: file too large; keep it below {self.largest >> 20} MiB"
        return None


async def _read_away(receive: Receive) -> None:
    """A sender that is cut off while it still sends sees a broken connection and no answer."""
    while (await receive()).get("more_body", False):
        pass


async def _answer(send: Send, status: int, line: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": line.encode()})
