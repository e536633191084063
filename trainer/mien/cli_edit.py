"""`mien edit`: change expression, pose or light of the face in a photo."""

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
    run: Annotated[Path, typer.Option(help="Run folder of magicface or rigface.", show_default=False)],
    out: Annotated[
        Path, typer.Option(help="PNG, JPEG or WebP file; of several photos a folder.", show_default=False)
    ],
    au: Annotated[
        list[str] | None,
        typer.Option(help="A change in FACS levels, such as AU12=+3; repeat for more.", show_default=False),
    ] = None,
    yaw: Annotated[
        float | None,
        typer.Option(help="rigface: turn the head, degrees; > 0 to the right.", show_default=False),
    ] = None,
    pitch: Annotated[
        float | None, typer.Option(help="rigface: nod, degrees; > 0 looks up.", show_default=False)
    ] = None,
    roll: Annotated[
        float | None, typer.Option(help="rigface: tilt, degrees; > 0 clockwise.", show_default=False)
    ] = None,
    light: Annotated[
        float | None,
        typer.Option(help="rigface: turn the light, degrees; > 0 to the right.", show_default=False),
    ] = None,
    light_gain: Annotated[
        float | None, typer.Option(help="rigface: factor of the light's strength.", show_default=False)
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option("--from", help="rigface: a photo to take --modes of.", show_default=False),
    ] = None,
    modes: Annotated[
        str | None,
        typer.Option(
            help="rigface: what of it: exp, pose, light, joined by +. Turns and units are added to that.",
            show_default=False,
        ),
    ] = None,
    from_box: Annotated[
        str | None, typer.Option(help="The face in that photo, as --box.", show_default=False)
    ] = None,
    rig: Annotated[
        Path | None,
        typer.Option(help="rigface: the 3D face of a run that needs another one.", show_default=False),
    ] = None,
    reader: Annotated[
        Path | None,
        typer.Option(
            help="Run folder of facereader; default the newest fit one beside the run.", show_default=False
        ),
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
    """Move the face in a photo: action units, and with runs of rigface pose and light, or those of a target.

    Every edit says in its metadata what it is made of. A bad photo gives a line, the others go on, and the
    exit code is 2.
    """
    from mien.editing.claim import CONSENT
    from mien.editing.command import Request
    from mien.editing.command import edit as make
    from mien.editing.request import cannot, make_ask, parse_strengths
    from mien.editing.rig_session import open_session, system_of
    from mien.errors import MienError
    from mien.systems.editing.noise import Guidance
    from mien.systems.editing.sampler import SAMPLERS, SampleConfig

    system = system_of(run)
    sliders = {"yaw": yaw, "pitch": pitch, "roll": roll, "light": light, "light_gain": light_gain}
    ask = make_ask(system, au or (), sliders, modes, target is not None)
    for option, given in (("--rig", rig), ("--from-box", from_box)):
        if given is not None and system != "rigface":
            raise cannot(system, option)
    if guidance not in (None, 1) and system == "rigface":
        raise cannot(system, "--guidance")
    if sampler not in SAMPLERS:
        raise MienError(
            f"unknown sampler {sampler!r}", where="--sampler", fix=f"one of: {', '.join(SAMPLERS)}"
        )
    request = Request(
        ask=ask,
        strengths=parse_strengths(strengths, modes=modes) if strengths is not None else (1.0,),
        sheet=strengths is not None,
        box=_box(box),
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
        target=target,
        target_box=_box(from_box, "--from-box"),
    )
    errors: list[MienError] = []

    def bad(error: MienError) -> None:
        errors.append(error)
        print(error, file=sys.stderr)

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    say(CONSENT)
    written = make(
        lambda: open_session(run, reader, which, rig), photos, out, request, bad=bad, say=say,
        progress=sys.stderr.isatty(),
    )  # fmt: skip
    for path in written:
        print(path)
    if errors:
        raise typer.Exit(2)


def _box(text: str | None, where: str = "--box") -> tuple[float, ...] | None:
    from mien.predict import Box

    if text is None:
        return None
    face = Box.parse(text, where)
    return face.x, face.y, face.width, face.height
