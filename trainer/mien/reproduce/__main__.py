"""`python -m mien.reproduce NAME`: experiments of the README's tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mien.errors import MienError

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Seeds = Annotated[int, typer.Option(help="How many seeds, or splits.")]
Parallel = Annotated[int, typer.Option(help="Runs that train at the same time.")]
Threads = Annotated[int, typer.Option(help="CPU threads of each run.")]
Override = Annotated[
    list[str] | None, typer.Option("--set", help="key=value for every run; repeat for more.")
]


@app.command(epilog="Example: python -m mien.reproduce ablation --data data/emocap")
def ablation(
    data: Annotated[Path, typer.Option(help="Folder with train, val and test, as `make data` makes.")],
    out: Annotated[Path, typer.Option(help="Runs and the table.")] = Path("checkpoints/reproduce/ablation"),
    seeds: Seeds = 3,
    parallel: Parallel = 2,
    threads: Threads = 1,
    override: Override = None,
) -> None:
    """Which part of EmoCapCLIP helps on synthetic faces: five variants, mean and spread over seeds."""
    from mien.reproduce.ablation import reproduce

    print(
        reproduce(data, out, seeds=seeds, parallel=parallel, threads=threads, overrides=tuple(override or ()))
    )


@app.command(epilog="Example: python -m mien.reproduce twins --data data/emocap")
def twins(
    data: Annotated[Path, typer.Option(help="Folder with train and val, as `make data` makes.")],
    out: Annotated[Path, typer.Option(help="Sets, runs and the tables.")] = Path(
        "checkpoints/reproduce/twins"
    ),
    seeds: Seeds = 3,
    parallel: Parallel = 2,
    threads: Threads = 1,
    override: Override = None,
) -> None:
    """EmoCapCLIP against CLIP-, SigLIP-, DreamLIP- and FLAIR-like twins on synthetic benchmarks."""
    from mien.reproduce.twins import reproduce

    print(
        reproduce(data, out, seeds=seeds, parallel=parallel, threads=threads, overrides=tuple(override or ()))
    )


@app.command(epilog="Example: python -m mien.reproduce units --data data/emocap")
def units(
    data: Annotated[Path, typer.Option(help="Folder with train and val, as `make data` makes.")],
    out: Annotated[Path, typer.Option(help="Sets, runs and the tables; shared with `twins`.")] = Path(
        "checkpoints/reproduce/twins"
    ),
    seeds: Seeds = 3,
    parallel: Parallel = 2,
    threads: Threads = 1,
    override: Override = None,
) -> None:
    """Three ways to help EmoCapCLIP with action units, on the benchmarks of `twins`."""
    from mien.reproduce.twins import TOWARDS_UNITS, reproduce

    print(
        reproduce(
            data, out, seeds=seeds, parallel=parallel, threads=threads, overrides=tuple(override or ()),
            methods=TOWARDS_UNITS, stem="units",
        )
    )  # fmt: skip


@app.command(
    epilog="Example: python -m mien.reproduce wild --photos wild_faces --init checkpoints/emocapclip/tiny/RUN"
)
def wild(
    photos: Annotated[Path, typer.Option(help="Folder with labels.csv (image, emotion, person) and images.")],
    init: Annotated[
        Path | None, typer.Option(help="Run whose towers to start from, beside from scratch.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Sets, runs and the table.")] = Path("checkpoints/reproduce/wild"),
    seeds: Seeds = 3,
    parallel: Parallel = 2,
    threads: Threads = 1,
    override: Override = None,
) -> None:
    """Linear probe on photographs of people never seen, beside HOG and a CNN: mean and spread over splits."""
    from mien.reproduce.wild import reproduce

    print(
        reproduce(
            photos,
            out,
            init,
            splits=seeds,
            parallel=parallel,
            threads=threads,
            overrides=tuple(override or ()),
        )
    )


@app.command(epilog="Example: python -m mien.reproduce editing --seeds 1 --set engine.max_steps=300")
def editing(
    out: Annotated[Path, typer.Option(help="Sets, runs, tables and pictures.")] = Path(
        "checkpoints/reproduce/editing"
    ),
    seeds: Seeds = 3,
    people: Annotated[int, typer.Option(min=2, help="Unseen people, 60 edits each.")] = 20,
    variants: Annotated[bool, typer.Option("--variants", help="Change one thing at a time, too.")] = False,
    parallel: Parallel = 3,
    threads: Threads = 1,
    override: Override = None,
) -> None:
    """MagicFace on people never seen: action units, identity, background and pose, beside baselines."""
    from mien.reproduce.editing import reproduce

    print(
        reproduce(
            out, seeds=seeds, people=people, variants=variants, parallel=parallel, threads=threads,
            overrides=tuple(override or ()),
        )
    )  # fmt: skip


@app.command(epilog="Example: python -m mien.reproduce rig-editing --seeds 1 --set engine.max_steps=300")
def rig_editing(
    out: Annotated[Path, typer.Option(help="Sets, runs, tables and the sheet.")] = Path(
        "checkpoints/reproduce/rig_editing"
    ),
    seeds: Seeds = 3,
    people: Annotated[int, typer.Option(min=2, help="Unseen people, 14 edits each.")] = 40,
    variants: Annotated[bool, typer.Option("--variants", help="Change one thing at a time, too.")] = False,
    parallel: Parallel = 3,
    threads: Threads = 1,
    override: Override = None,
) -> None:
    """RigFace on people never seen: expression, pose, light and their sums, beside baselines."""
    from mien.reproduce.rig_editing import reproduce

    print(
        reproduce(
            out, seeds=seeds, people=people, variants=variants, parallel=parallel, threads=threads,
            overrides=tuple(override or ()),
        )
    )  # fmt: skip


@app.command(epilog="Example: python -m mien.reproduce shots RUN RUN --root data/benchmarks")
def shots(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.", show_default=False)],
    root: Annotated[Path, typer.Option(help="Folder below which benchmarks lie.", show_default=False)],
    draws: Annotated[int, typer.Option(min=1, help="Draws of the shots.")] = 3,
) -> None:
    """UAR of few shots with C fixed, from small to large, and as the suite chooses it; the mean over all."""
    from mien.reproduce.shots import reproduce

    print(reproduce(runs, root, draws))


@app.command(epilog="Example: python -m mien.reproduce ranks --data data/emocap")
def ranks(
    data: Annotated[Path, typer.Option(help="Folder with the set train, as `make data` makes.")],
    out: Annotated[Path, typer.Option(help="Runs and the table.")] = Path("checkpoints/reproduce/ranks"),
    steps: Annotated[int, typer.Option(help="Steps of each run.")] = 50,
    override: Override = None,
) -> None:
    """The tiny recipe on 1, 2 and 4 CPU processes: how far losses and weights are apart."""
    from mien.reproduce.curves import CASES, RANKS, compare

    print(compare(data, out, RANKS, steps=steps, cases=CASES, overrides=tuple(override or ())))


@app.command(epilog="Example: python -m mien.reproduce layouts --data data/emocap")
def layouts(
    data: Annotated[Path, typer.Option(help="Folder with the set train, as `make data` makes.")],
    out: Annotated[Path, typer.Option(help="Runs and the tables.")] = Path("checkpoints/reproduce/layouts"),
    steps: Annotated[int, typer.Option(help="Steps of each run.")] = 50,
    only_moved: Annotated[bool, typer.Option("--only-moved", help="Only the first table.")] = False,
    override: Override = None,
) -> None:
    """Checkpoints moved between layouts, all pairs of nine; then every strategy against one process."""
    from mien.reproduce.layouts import moved, parity

    print(moved(out, steps=steps), flush=True)
    if only_moved:
        return
    print(parity(data, out / "parity", steps=steps, overrides=tuple(override or ())))


@app.command(epilog="Example: python -m mien.reproduce backends --data data/emocap")
def backends(
    data: Annotated[Path, typer.Option(help="Folder with the set train, as `make data` makes.")],
    out: Annotated[Path, typer.Option(help="Runs and the table.")] = Path("checkpoints/reproduce/backends"),
    steps: Annotated[int, typer.Option(help="Steps of each run.")] = 200,
    override: Override = None,
) -> None:
    """The tiny recipe on each back end of the kernels: how far losses and weights are apart."""
    from mien.reproduce.curves import BACKENDS, CASES, SLOW, compare

    cases = CASES | SLOW
    print(compare(data, out, BACKENDS, steps=steps, cases=cases, overrides=tuple(override or ())))


if __name__ == "__main__":
    try:
        app(prog_name="python -m mien.reproduce")
    except MienError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
