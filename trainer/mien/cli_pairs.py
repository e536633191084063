"""`mien data pairs`: pairs for face editors from any folder of videos."""

from __future__ import annotations

import hashlib
import sys
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.errors import DataError

if TYPE_CHECKING:
    from mien.pairs.labels import Estimators
    from mien.systems.facereader.load import Reader

_ESTIMATOR = "reader, onnx:DESCRIPTION.yaml, or MODULE:FUNCTION."


def add_to(data: typer.Typer) -> None:
    """Register `pairs`."""
    example = (
        "mien data pairs videos data/affwild --reader checkpoints/facereader/tiny/RUN --units onnx:au.yaml"
    )
    data.command(epilog=f"Example: {example}")(pairs)


def pairs(
    videos: Annotated[Path, typer.Argument(help="Folder of video files, or one.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder of the work and the sets.", show_default=False)],
    reader: Annotated[
        Path, typer.Option(help="Run folder of facereader: parts, jaw, pose.", show_default=False)
    ],
    units: Annotated[str, typer.Option(help=f"Who labels action units: {_ESTIMATOR}")] = "reader",
    identity: Annotated[str, typer.Option(help=f"Who tells people apart: {_ESTIMATOR}")] = "reader",
    exclude: Annotated[
        Path | None, typer.Option(help="Titles to leave out, one a line.", show_default=False)
    ] = None,
    part: Annotated[
        str | None, typer.Option(metavar="I/N", help="Share of this job, for arrays.", show_default=False)
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change an option; it is kept with the folder."),
    ] = None,
) -> None:
    """Faces of one track that differ in expression, as training pairs; run again after a death, it goes on.

    With --part only the videos are worked on; a last call without it writes the sets.
    """
    absent = [name for name in ("cv2", "scenedetect") if util.find_spec(name) is None]
    if absent:
        what = f"packages are absent: {', '.join(absent)}"
        raise DataError(what, where="mien data pairs", fix="pip install 'mien[corpus]'")
    from mien.corpus.build import parse_part
    from mien.corpus.detect import open_detector
    from mien.corpus.options import FILE, load_options_as
    from mien.corpus.report import table
    from mien.corpus.scan import scan
    from mien.data.split import check_parts
    from mien.pairs.build import PairSet
    from mien.pairs.options import PairOptions

    # Whatever can be wrong is told now, not after hours.
    options = load_options_as(PairOptions, out, set_ or [])
    check_parts(options.parts)
    open_detector(options.detector)
    share = parse_part(part)
    estimators = _open(reader, units, identity)
    movies = scan(videos, out, exclude)
    if set_ or not (out / FILE).is_file():
        options.save(out)
    made = PairSet(out, options, movies[share[0] :: share[1]], estimators, progress=sys.stderr.isatty())
    for name, reason in made.run().items():
        print(f"video {name} cannot be read any more: {reason}", file=sys.stderr)
    counts = made.report(whole=part is None)
    print(table(counts))
    if part is None:
        written = made.write()
        if empty := [name for name in options.parts if not counts["split"][name]]:
            more = "give more videos, or --set split=identity where each person is in one video only"
            print(f"nothing fell to {', '.join(empty)}: {more}", file=sys.stderr)
        print(written)


def _open(run: Path, units: str, identity: str) -> Estimators:
    from mien.estimators.identity import open_identity
    from mien.estimators.units import open_units
    from mien.pairs.labels import Estimators
    from mien.systems.facereader.load import load

    reader = load(run)
    name = _name(reader)
    return Estimators(reader, name, open_units(units, reader, name), open_identity(identity, reader, name))


def _name(reader: Reader) -> str:
    """Of the weights: another checkpoint labels anew."""
    digest = hashlib.sha256()
    for key, value in sorted(reader.model.state_dict().items()):
        digest.update(key.encode() + value.cpu().contiguous().numpy().tobytes())
    return f"facereader {digest.hexdigest()[:12]}"
