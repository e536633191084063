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
    example = "Example: mien predict checkpoints/emocapclip/tiny/RUN face.jpg clip.mp4 photos --out read"
    app.command(epilog=example)(predict)


def export(
    run: Run,
    out: Annotated[Path, typer.Argument(help="File (safetensors) or folder to write.", show_default=False)],
    to: Annotated[
        str, typer.Option(help="Format: safetensors, open_clip, transformers, onnx or diffusers.")
    ] = "safetensors",
    which: Which = "last",
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file, or a folder that an export made.")
    ] = False,
) -> None:
    """Write a run for use elsewhere (averaged weights where the run keeps an average).

    safetensors is one file with mien's names. open_clip and transformers are folders that these libraries
    load; onnx holds an image and a text graph; diffusers, of an editor, two UNets and the prompt's states.
    Folders carry a model card and are checked before they appear.
    """
    from mien.export import export as write

    write(run, out, to=to, which=which, force=force, progress=lambda line: print(line, file=sys.stderr))
    print(out)


def predict(
    run: Run,
    inputs: Annotated[
        list[Path], typer.Argument(help="Images, videos, or folders of them.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures and tables; default RUN/predictions.", show_default=False),
    ] = None,
    prompts: Annotated[str, typer.Option(help="Classes: a packaged prompt set or a YAML file.")] = "emotion7",
    captions: Annotated[
        Path | None,
        typer.Option(
            help="Find the nearest captions in a shard set, or in a text file with one a line.",
            show_default=False,
        ),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option(help="The face, x,y,w,h in pixels, in every input.", show_default=False),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, max=64, help="Evenly spaced frames of a video.")] = 16,
    look: Annotated[
        str | None,
        typer.Option(
            help="Heat map by patches or gradient; default patches where trained.", show_default=False
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines instead of a table.")] = False,
    which: Which = "last",
) -> None:
    """Read emotions, action units and nearest captions off faces; draw where the model looks.

    The whole picture is taken as a face crop unless --box says where the face is. Writes a PNG an input,
    predictions.csv and predictions.jsonl. A bad input gives a line, the others go on, and the exit code is 2.
    """
    from json import dumps

    from mien.predict import Box
    from mien.predict import predict as read
    from mien.predict.table import print_readings

    outcome = read(
        run,
        inputs,
        out,
        prompts=prompts,
        captions=captions,
        box=Box.parse(box) if box is not None else None,
        frames=frames,
        look=look,
        which=which,
        bad=lambda error: print(error, file=sys.stderr),
        progress=True,
    )
    if json:
        for reading in outcome.readings:
            print(dumps(reading.record()))
    elif outcome.readings:
        print_readings(outcome.readings)
    if outcome.readings:
        print(outcome.out, file=sys.stderr if json else sys.stdout)
    if outcome.errors:
        raise typer.Exit(2)
