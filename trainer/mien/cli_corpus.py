"""`mien data emocap`: a corpus of faces from movie files, and a movie of synthetic faces to try it on."""

from __future__ import annotations

import sys
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien import cli_corpus_captions
from mien.errors import DataError

if TYPE_CHECKING:
    from mien.corpus.build import Corpus
    from mien.corpus.units import UnitMeter

emocap = typer.Typer(
    help="From movie files to shards of captioned faces; run again after any death, it continues.",
    no_args_is_help=True,
)

Movies = Annotated[Path, typer.Argument(help="Folder of movie files, or one.", show_default=False)]
Out = Annotated[Path, typer.Argument(help="Folder of the corpus.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change an option; it is kept with the corpus."),
]
Part = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="Share of this job, I from 0; for arrays.", show_default=False),
]
Jobs = Annotated[int, typer.Option(min=1, help="Movies, or captions, at a time.")]
Exclude = Annotated[Path | None, typer.Option(help="Titles to leave out, one a line.", show_default=False)]
Maker = Annotated[str, typer.Option(help="none, offline:METER, http:FILE.yaml, or MODULE:FUNCTION.")]
Meter = Annotated[
    Path | None,
    typer.Option(
        help="Folder of `units fit`: its units go to the captioner and judge its captions.",
        show_default=False,
    ),
]

cli_corpus_captions.add_to(emocap)


@emocap.callback()
def _needs() -> None:
    """Ask for the packages of the extra `corpus` before anything is written."""
    absent = [name for name in ("cv2", "scenedetect", "imagehash") if util.find_spec(name) is None]
    if absent:
        what = f"packages are absent: {', '.join(absent)}"
        raise DataError(what, where="mien data emocap", fix="pip install 'mien[corpus]'")


@emocap.command(epilog="Example: mien data emocap build movies corpus --exclude titles.txt --set rate=4")
def build(
    movies: Movies,
    out: Out,
    captioner: Maker = "none",
    meter: Meter = None,
    exclude: Exclude = None,
    part: Part = None,
    jobs: Jobs = 1,
    set_: Set = None,
) -> None:
    """All stages, and a table of what each kept; with --part all but the split and the shards."""
    from mien.corpus.build import parse_part
    from mien.corpus.captioning import open_captioner
    from mien.corpus.detect import open_detector
    from mien.corpus.options import load_options
    from mien.corpus.report import count, table, write_report

    # Whatever can be wrong is told now, not after hours.
    open_captioner(captioner)
    open_detector(load_options(out, set_ or []).detector)
    parse_part(part)
    _load_meter(meter, captioner)
    _scan(movies, out, exclude, set_)
    corpus = _open(out, part, jobs, captioner, meter)
    failed = corpus.run()
    for name, reason in failed.items():
        print(f"movie {name} cannot be read any more: {reason}", file=sys.stderr)
    if corpus.captioner is not None:
        corpus.caption()
    if part is not None:
        print(table(count(corpus)))
        return
    corpus.split()
    print(corpus.shards())
    print(table(write_report(corpus)))


@emocap.command(epilog="Example: mien data emocap scan movies corpus --exclude titles.txt")
def scan(movies: Movies, out: Out, exclude: Exclude = None, set_: Set = None) -> None:
    """Stage 0: find movie files, know them by content, leave out what cannot be used."""
    from mien.corpus.report import table
    from mien.corpus.scan import read_scan, scan_counts

    _scan(movies, out, exclude, set_)
    print(table({"scan": scan_counts(read_scan(out))}))


@emocap.command(epilog="Example: mien data emocap shots corpus --jobs 8")
def shots(out: Out, part: Part = None, jobs: Jobs = 1, set_: Set = None) -> None:
    """Stage 1: cut movies into shots."""
    _stage("shots", out, part, jobs, set_)


@emocap.command(epilog="Example: mien data emocap faces corpus --part 0/16")
def faces(out: Out, part: Part = None, jobs: Jobs = 1, set_: Set = None) -> None:
    """Stage 2: find faces and follow them inside shots."""
    _stage("faces", out, part, jobs, set_)


@emocap.command(epilog="Example: mien data emocap gates corpus --set yaw=45")
def gates(out: Out, part: Part = None, jobs: Jobs = 1, set_: Set = None) -> None:
    """Stage 3: leave out bad faces, choose frames, crop."""
    _stage("gates", out, part, jobs, set_)


@emocap.command(epilog="Example: mien data emocap dedup corpus --set hash_bits=6")
def dedup(out: Out, part: Part = None, jobs: Jobs = 1, set_: Set = None) -> None:
    """Stage 4: leave out near copies inside a movie."""
    _stage("dedup", out, part, jobs, set_)


@emocap.command(epilog="Example: mien data emocap caption corpus --captioner http:endpoint.yaml")
def caption(out: Out, captioner: Maker, meter: Meter = None, part: Part = None, jobs: Jobs = 4) -> None:
    """Stage 5: caption the faces that stay, and judge the captions."""
    from mien.corpus.report import table

    print(table({"caption": _open(out, part, jobs, captioner, meter).caption()}))


@emocap.command(epilog="Example: mien data emocap split corpus --set seed=1")
def split(out: Out, captioner: Maker = "none", meter: Meter = None, set_: Set = None) -> None:
    """Stage 6: deal movies to parts."""
    _change(out, set_)
    parts = _open(out, None, 1, captioner, meter).split()
    for name, part in parts.items():
        print(f"{name} {part}")


@emocap.command(epilog="Example: mien data emocap shards corpus")
def shards(out: Out, captioner: Maker = "none", meter: Meter = None) -> None:
    """Stage 7: write the sets."""
    print(_open(out, None, 1, captioner, meter).shards())


@emocap.command(epilog="Example: mien data emocap report corpus")
def report(out: Out, captioner: Maker = "none", meter: Meter = None) -> None:
    """What each stage kept and left out, and a contact sheet sheet.png."""
    from mien.corpus.report import table, write_report

    print(table(write_report(_open(out, None, 1, captioner, meter))))


@emocap.command(
    "caption-report", epilog="Example: mien data emocap caption-report corpus --captioner http:http.yaml"
)
def caption_report(
    out: Out,
    captioner: Maker,
    meter: Meter = None,
    faces: Annotated[int, typer.Option(min=1, max=200, help="Faces on the sheet.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Which faces.")] = 0,
) -> None:
    """Captions in numbers: gates, lengths, openings, cost; and captions.jpg, faces with theirs."""
    from mien.corpus.caption_summary import tables
    from mien.corpus.report import write_caption_report

    summary, sheet = write_caption_report(_open(out, None, 1, captioner, meter), faces, seed)
    print(tables(summary))
    print(f"\n{sheet}")


@emocap.command("sample-movie", epilog="Example: mien data emocap sample-movie movies/a --seconds 600")
def sample_movie(
    out: Annotated[Path, typer.Argument(help="Folder to write; absent or empty.", show_default=False)],
    seconds: Annotated[float, typer.Option(help="Length.")] = 60.0,
    people: Annotated[int, typer.Option(help="Different people.")] = 6,
    seed: Annotated[int, typer.Option(help="Of everything, people too.")] = 0,
    width: Annotated[int, typer.Option(help="Of a frame, pixels.")] = 800,
    height: Annotated[int, typer.Option(help="Of a frame, pixels.")] = 450,
    fps: Annotated[int, typer.Option(help="Frames a second.")] = 12,
    shot_seconds: Annotated[float, typer.Option(help="Mean length of a shot.")] = 4.0,
) -> None:
    """Make a movie of synthetic people, movie.mp4, and what is true of it, truth.json."""
    from mien.faces.movie_draw import make_movie

    show = sys.stderr.isatty()
    made = make_movie(
        out,
        seconds=seconds,
        people=people,
        seed=seed,
        width=width,
        height=height,
        fps=fps,
        shot_seconds=shot_seconds,
        progress=show,
    )
    print(made)


@emocap.command(epilog="Example: mien data emocap score corpus --truth movies/a")
def score(
    out: Out,
    truth: Annotated[Path, typer.Option(help="Folder of `sample-movie`.", show_default=False)],
    meter: Annotated[Path | None, typer.Option(help="Also score this meter.", show_default=False)] = None,
) -> None:
    """Compare a corpus of one synthetic movie with its truth."""
    from mien.corpus.score import score as measure
    from mien.corpus.units import load_meter
    from mien.faces.movie import load_truth

    corpus = _open(out, None, 1, "none")
    if len(corpus.movies) != 1:
        raise DataError(f"{len(corpus.movies)} movies", where=out, fix="build a corpus of the one movie")
    loaded = load_meter(meter) if meter else None
    print("| measure | value |\n|---|---:|")
    for name, value in measure(corpus.place(corpus.movies[0]), load_truth(truth), loaded).items():
        print(f"| {name} | {value:.3f} |" if isinstance(value, float) else f"| {name} | {value} |")


def _change(out: Path, changes: list[str] | None) -> None:
    from mien.corpus.options import load_options

    options = load_options(out, changes or [])
    if changes or not out.is_dir():
        out.mkdir(parents=True, exist_ok=True)
        options.save(out)


def _scan(movies: Path, out: Path, exclude: Path | None, changes: list[str] | None) -> None:
    from mien.corpus.options import FILE, load_options
    from mien.corpus.scan import scan

    options = load_options(out, changes or [])
    scan(movies, out, exclude)
    if changes or not (out / FILE).is_file():
        options.save(out)


def _open(out: Path, part: str | None, jobs: int, captioner: str, meter: Path | None = None) -> Corpus:
    from dataclasses import replace

    from mien.corpus.build import open_corpus
    from mien.corpus.caption_gates import make_judge
    from mien.corpus.captioning import open_captioner
    from mien.corpus.options import load_options

    corpus = open_corpus(out, load_options(out), part)
    loaded = _load_meter(meter, captioner)
    return replace(
        corpus,
        captioner=open_captioner(captioner),
        judge=make_judge(loaded),
        meter=loaded,
        jobs=jobs,
        progress=sys.stderr.isatty(),
    )


def _load_meter(meter: Path | None, captioner: str) -> UnitMeter | None:
    from mien.corpus.units import load_meter

    if meter is None:
        return None
    if captioner == "none":
        raise DataError("a meter without captions to judge", where="--meter", fix="give --captioner, too")
    return load_meter(meter)


def _stage(stage: str, out: Path, part: str | None, jobs: int, changes: list[str] | None) -> None:
    from mien.corpus.report import count, table

    _change(out, changes)
    corpus = _open(out, part, jobs, "none")
    for name, reason in corpus.run([stage]).items():
        print(f"movie {name} cannot be read any more: {reason}", file=sys.stderr)
    print(table({stage: count(corpus)[stage]}))
