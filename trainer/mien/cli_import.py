"""`mien import`: published weights as a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Register `import`, which is no name that a function can have."""
    example = "Example: mien import magicface magicface-download --vae stable-diffusion-v1-5/vae"
    app.command("import", epilog=f"{example} --prompt prompt.safetensors")(import_)


def import_(
    system: Annotated[str, typer.Argument(help="magicface or rigface.", show_default=False)],
    folder: Annotated[
        Path,
        typer.Argument(
            help="As downloaded, or as `mien export --to diffusers` wrote it.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="Run root: the run lands below it.")] = Path("checkpoints"),
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Whose model section describes the networks; default SYSTEM/paper.", show_default=False
        ),
    ] = None,
    vae: Annotated[
        Path | None,
        typer.Option(
            help="Diffusers folder of the autoencoder; without it, or one that the recipe names and that is "
            "there, the run cannot edit photographs.",
            show_default=False,
        ),
    ] = None,
    prompt: Annotated[
        Path | None,
        typer.Option(
            help="Safetensors file with the states of the prompt, `prompt` [1, T, width]. Default: "
            "prompt.safetensors in FOLDER, then the recipe's if it is there.",
            show_default=False,
        ),
    ] = None,
    no_prompt: Annotated[
        bool, typer.Option("--no-prompt", help="One zero instead, for weights that never saw a prompt.")
    ] = False,
) -> None:
    """Read published weights strictly and write a run that export, training and editing take.

    Only safetensors are read; a missing, unknown or misshapen tensor is refused. Weights become float32 and
    lie in a checkpoint at step 0. The run says which files it was made of (SHA-256). It cannot be resumed:
    start a new one with model.init_from=RUN. The last line printed is the run folder.

    The networks of both releases were trained with one caption, "A close up of a person.". Its states are the
    last hidden states of Stable Diffusion 1.5's text encoder, padded to 77 tokens: save them as tensor
    `prompt` [1, 77, 768] of a safetensors file. Without them nothing is imported, unless --no-prompt says
    that a zero is right.
    """
    from mien.systems.editing.importing import Beside, import_release

    beside = Beside(vae, prompt, no_prompt)
    run = import_release(
        system, folder, out, beside, recipe=recipe, progress=lambda line: print(line, file=sys.stderr)
    )
    print(run.path)
