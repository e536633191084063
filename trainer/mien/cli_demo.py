"""`mien demo`: a page that edits faces."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Register `demo`."""
    app.command(epilog="Example: mien demo checkpoints/magicface/tiny/RUN --port 7860 --no-browser")(demo)


def demo(
    run: Annotated[Path, typer.Argument(help="Run folder of magicface or rigface.", show_default=False)],
    reader: Annotated[
        Path | None,
        typer.Option(help="Run folder of facereader; default the newest beside the run.", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="0 is any; default the first free from 7860.", show_default=False
        ),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in a browser.")] = True,
    rig: Annotated[
        Path | None, typer.Option(help="rigface: a 3D face in place of the built-in one.", show_default=False)
    ] = None,
    which: Annotated[str, typer.Option(help="Checkpoint: last, best or a step.")] = "last",
) -> None:
    """Edit faces on a page of this machine: sliders, a live strip, before and after, a file to keep.

    The page is there for this machine alone (127.0.0.1) and asks no other. What is uploaded and made lies in
    a temporary folder that goes when the page ends.
    """
    from mien.demo.needs import require_gradio

    require_gradio()
    from mien.demo.server import serve
    from mien.editing.claim import CONSENT
    from mien.editing.rig_session import open_session

    print(CONSENT, file=sys.stderr)
    serve(
        lambda: open_session(run, reader, which, rig),
        port,
        lambda address: print(address, flush=True),
        browser,
    )
