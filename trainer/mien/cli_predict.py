"""`mien export` and `mien predict`: a run outside mien, and a run on pictures and videos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[Path, typer.Argument(help="Run folder, as `mien train` printed it.", show_default=False)]
Which = Annotated[str, typer.Option(help="Checkpoint: last, best or a step.")]


def add_to(app: typer.Typer) -> None:
    """Register `export` and `predict`."""
    example = "Example: mien export checkpoints/emocapclip/tiny/RUN --to onnx exported"
    app.command(epilog=example)(export)


def export(
    run: Run,
    out: Annotated[Path, typer.Argument(help="File (safetensors) or folder to write.", show_default=False)],
    to: Annotated[
        str, typer.Option(help="Format: safetensors, open_clip, transformers or onnx.")
    ] = "safetensors",
    which: Which = "last",
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file, or a folder that an export made.")
    ] = False,
) -> None:
    """Write a run for use elsewhere (averaged weights where the run keeps an average).

    safetensors is one file with mien's names. open_clip and transformers are folders that these libraries
    load; onnx holds an image and a text graph. Folders carry a model card and are checked before they appear.
    """
    from mien.export import export as write

    write(run, out, to=to, which=which, force=force, progress=lambda line: print(line, file=sys.stderr))
    print(out)
