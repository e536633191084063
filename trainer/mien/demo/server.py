"""The page on a port of this machine, until somebody ends it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path

from mien.demo.guard import Guard
from mien.demo.needs import require_gradio
from mien.demo.samples import sample_faces
from mien.demo.studio import MAX_UPLOAD, Studio
from mien.editing.session import Session
from mien.errors import MienError

HOST = "127.0.0.1"
FIRST_PORT = 7860
"""Where the search for a free port begins; Gradio's habit."""


def serve(
    session: Callable[[], Session], port: int | None, say: Callable[[str], None], browser: bool
) -> None:
    """Show the page until the process is told to end.

    Args:
        session: opens the run, once the port is known to be free.
        port: None takes the first free one from `FIRST_PORT`; 0 any.
        say: told the address when the page can be opened.
        browser: whether to open it.

    Raises:
        MienError: if Gradio is not there, the port is taken, or the run cannot be used.
    """
    require_gradio()
    with _ends_orderly(), contextlib.closing(bind(port)) as door, _folder() as folder:
        app = _app(session(), folder)
        door.listen(128)
        address = f"http://{HOST}:{door.getsockname()[1]}/"
        say(address)
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        _run(app, door)


def bind(port: int | None) -> socket.socket:
    """A socket on this machine alone.

    Raises:
        MienError: if the port is taken or not allowed.
    """
    wanted = [port] if port is not None else [*range(FIRST_PORT, FIRST_PORT + 100), 0]
    for number in wanted:
        door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((HOST, number))
        except OSError as error:
            door.close()
            reason = error.strerror
            continue
        return door
    fix = "give another one, or 0 for any that is free"
    raise MienError(f"port {port} cannot be used: {reason}", where="--port", fix=fix)


def _app(session: Session, folder: Path) -> Guard:
    import gradio as gr
    from fastapi import FastAPI

    from mien.demo.look import CSS, theme
    from mien.demo.page import Page

    made = folder / "made"
    made.mkdir()
    page = Page(Studio(session, made), sample_faces())
    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app = gr.mount_gradio_app(
        outer, page.blocks, path="/", server_name=HOST, allowed_paths=[], show_error=False,
        max_file_size=MAX_UPLOAD, ssr_mode=False, enable_monitoring=False, run_history=False,
        mcp_server=False, footer_links=[], theme=theme(), css=CSS,
    )  # fmt: skip
    # Gradio checks that a file which a request names was uploaded only after its own `launch`.
    page.blocks.has_launched = True
    return Guard(app, MAX_UPLOAD)


def _run(app: Guard, door: socket.socket) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Every open page holds a request, its heartbeat; that it is cut off at the end is no error.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, ws="none", timeout_graceful_shutdown=1
    )
    Server(config).run(sockets=[door])


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder for uploads and edits that ends with the page."""
    with tempfile.TemporaryDirectory(prefix="mien-demo-") as name:
        folder = Path(name).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(folder / "gradio")
        os.environ["GRADIO_EXAMPLES_CACHE"] = str(folder / "examples")
        yield folder


@contextlib.contextmanager
def _ends_orderly() -> Iterator[None]:
    """Ctrl-C and SIGTERM leave no trace on the terminal and no folder behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt):
        yield
