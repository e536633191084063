"""`mien edit`: change an expression in a photo by action units."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

Photos = Annotated[
    list[Path], typer.Argument(help="Photos of one face each, or folders of them.", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    """Register `edit`."""
    example = (
        "mien edit photo.jpg --run checkpoints/magicface/tiny/RUN --au AU12=+3 --au AU4=-1 --out smile.png"
    )
    app.command(epilog=f"Example: {example}")(edit)


def edit(
    photos: Photos,
    run: Annotated[Path, typer.Option(help="Run folder of magicface.", show_default=False)],
    out: Annotated[
        Path, typer.Option(help="PNG, JPEG or WebP file; of several photos a folder.", show_default=False)
    ],
    au: Annotated[
        list[str] | None,
        typer.Option(help="A change in FACS levels, such as AU12=+3; repeat for more.", show_default=False),
    ] = None,
    reader: Annotated[
        Path | None,
        typer.Option(help="Run folder of facereader; default the newest beside the run.", show_default=False),
    ] = None,
    strengths: Annotated[
        str | None,
        typer.Option(help="A sheet of multiples of the change, such as 0,0.5,1,1.5.", show_default=False),
    ] = None,
    box: Annotated[
        str | None, typer.Option(help="The face, x,y,w,h in pixels; default the largest.", show_default=False)
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="The photo is a face crop already.")] = False,
    crop_only: Annotated[
        bool, typer.Option("--crop-only", help="Write the edited face alone, not pasted back.")
    ] = False,
    sampler: Annotated[str, typer.Option(help="unipc, ddim or dpm++.")] = "unipc",
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Of the sampler.")] = 50,
    guidance: Annotated[
        float | None,
        typer.Option(min=0, help="Over the action units, 1 is none; default the run's.", show_default=False),
    ] = None,
    guidance_from: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the steps it begins at.")
    ] = 0.0,
    guidance_to: Annotated[float, typer.Option(min=0, max=1, help="Share of the steps it ends at.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise; the same seed gives the same edit.")] = 424,
    mark: Annotated[bool, typer.Option("--mark", help='Draw "AI edit" in a corner.')] = False,
    which: Annotated[str, typer.Option(help="Checkpoint: last, best or a step.")] = "last",
) -> None:
    """Move the expression of the person in a photo by differences of action units.

    Every edit says in its metadata what it is made of. A bad photo gives a line, the others go on, and the
    exit code is 2.
    """
    from mien.editing.claim import CONSENT
    from mien.editing.command import Request
    from mien.editing.command import edit as make
    from mien.editing.request import parse_strengths, parse_units
    from mien.editing.session import EditSession
    from mien.errors import MienError
    from mien.predict import Box
    from mien.systems.editing.noise import Guidance
    from mien.systems.editing.sampler import SAMPLERS, SampleConfig

    if not au:
        raise MienError("nothing to edit", where="--au", fix="name a change, such as --au AU12=+3")
    if sampler not in SAMPLERS:
        raise MienError(
            f"unknown sampler {sampler!r}", where="--sampler", fix=f"one of: {', '.join(SAMPLERS)}"
        )
    face = Box.parse(box) if box is not None else None
    request = Request(
        vector=parse_units(au),
        strengths=parse_strengths(strengths) if strengths is not None else (1.0,),
        sheet=strengths is not None,
        box=(face.x, face.y, face.width, face.height) if face else None,
        whole=whole,
        crop_only=crop_only,
        mark=mark,
        guidance=guidance,
        sample=SampleConfig.model_validate(
            {
                "sampler": sampler,
                "steps": steps,
                "seed": seed,
                "guidance": Guidance(start=guidance_from, stop=guidance_to),
            }
        ),
    )
    errors: list[MienError] = []

    def bad(error: MienError) -> None:
        errors.append(error)
        print(error, file=sys.stderr)

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    say(CONSENT)
    written = make(
        lambda: EditSession(run, reader, which), photos, out, request, bad=bad, say=say,
        progress=sys.stderr.isatty(),
    )  # fmt: skip
    for path in written:
        print(path)
    if errors:
        raise typer.Exit(2)
