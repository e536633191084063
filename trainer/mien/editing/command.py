"""`mien edit`: photos in, edited photos or sheets out."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from rich.console import Console
from rich.progress import Progress

from mien.editing.claim import Ingredient, Origin
from mien.editing.provenance import check_target, write_edit
from mien.editing.request import describe
from mien.editing.session import EditSession, Opened, Picture
from mien.editing.strip import edit_strip
from mien.editing.upload import read_photo
from mien.errors import DataError, MienError
from mien.predict.media import IMAGES
from mien.systems.editing.pair_rules import UNITS
from mien.systems.editing.sampler import SampleConfig, batches


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        vector: differences float32 [12] in FACS levels.
        strengths: multiples of it; without a sheet the first alone.
        sheet: whether to write a sheet with the original first rather than the edited photo.
        box: the face, left, top, width, height; None looks for it.
        whole: the photo is a face crop already.
        crop_only: write the canvas, not the photo with the canvas in its place.
        mark: whether to draw "AI edit".
        guidance: scale of the guidance; None takes the one that the run states.
        sample: how to sample, but for that scale.
    """

    vector: NDArray[np.float32]
    strengths: tuple[float, ...]
    sheet: bool
    box: tuple[float, ...] | None
    whole: bool
    crop_only: bool
    mark: bool
    guidance: float | None
    sample: SampleConfig


def edit(
    session: Callable[[], EditSession],
    photos: Sequence[Path],
    out: Path,
    request: Request,
    *,
    bad: Callable[[MienError], None],
    say: Callable[[str], None],
    progress: bool,
) -> list[Path]:
    """Edit photos; a bad one is told and the others go on.

    Args:
        session: opens the run, once all arguments are known to be good.
        photos: files, or folders of them.
        out: file for one photo, else a folder that is made.
        request: what to do.
        bad: told each error of a photo.
        say: told notes about a photo.
        progress: whether to show a bar on the terminal.

    Returns:
        The files that were written.

    Raises:
        MienError: for arguments or a run that cannot be used.
    """
    jobs = plan(photos, out)
    for photo, target in jobs:
        check_target(target, photo)
    opened_session, written = session(), []
    steps = request.sample.steps * batches(len(request.strengths), request.sample.batch) * len(jobs)
    with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar:
        task = bar.add_task("editing", total=steps)
        for photo, target in jobs:
            try:
                written.append(
                    _edit_one(
                        opened_session, photo, target, request, say, lambda count: bar.advance(task, count)
                    )
                )
            except MienError as error:
                bad(error)
    return written


def plan(photos: Sequence[Path], out: Path) -> list[tuple[Path, Path]]:
    """Which file becomes which.

    Raises:
        DataError: if there is no photo, or two would be written to one file.
    """
    found: list[Path] = []
    for path in photos:
        if path.is_dir():
            found += sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGES)
        else:
            found.append(path)
    if not found:
        raise DataError("no photo in there", where=photos[0], fix=f"give files ending in {' '.join(IMAGES)}")
    if len(found) == 1 and out.suffix:
        return [(found[0], out)]
    if out.suffix:
        raise DataError(f"{len(found)} photos for one file", where=out, fix="give a folder for --out")
    out.mkdir(parents=True, exist_ok=True)
    jobs = [(photo, out / f"{photo.stem}.png") for photo in found]
    if len({target for _, target in jobs}) < len(jobs):
        raise DataError("two photos have one name", where=out, fix="rename one, or edit them one by one")
    return jobs


def _edit_one(
    session: EditSession,
    source: Path,
    target: Path,
    request: Request,
    say: Callable[[str], None],
    note: Callable[[int], None],
) -> Path:
    photo = read_photo(source)
    opened = session.open(photo, request.box, request.whole)
    for line in (*photo.notes, *opened.crop.notes):
        say(f"{photo.name}: {line}")
    vectors = np.stack([strength * request.vector for strength in request.strengths]).astype(np.float32)
    sample = _sampling(session, request)
    canvases = session.edit(opened, vectors, sample, note)
    made = _finish(session, opened, canvases, request)
    asked: dict[str, JsonValue] = {
        f"AU{unit}": round(float(by), 4) for unit, by in zip(UNITS, request.vector, strict=True) if by
    }
    origin = Origin(
        created=datetime.datetime.now(datetime.UTC),
        parameters={
            "action_units": asked, "strengths": list(request.strengths), "sampler": sample.sampler,
            "steps": sample.steps, "seed": sample.seed, "guidance": sample.guidance.model_dump(mode="json"),
            "mask_mode": session.editor.config.mask_mode,
        },
        ingredient=Ingredient.of(photo),
        model=session.model,
    )  # fmt: skip
    return write_edit(target, made, origin, source=source, visible_mark=request.mark)


def _sampling(session: EditSession, request: Request) -> SampleConfig:
    scale = session.editor.config.guidance if request.guidance is None else request.guidance
    guidance = request.sample.guidance.model_copy(update={"scale": scale})
    return request.sample.model_copy(update={"guidance": guidance})


def _finish(session: EditSession, opened: Opened, canvases: list[Picture], request: Request) -> Picture:
    if request.sheet:
        heads = [f"x {strength:g}" for strength in request.strengths]
        note = f"{session.model.run}, step {session.model.step}, seed {request.sample.seed}"
        return edit_strip(opened.crop.canvas, [canvases], [describe(request.vector)], heads, note=note)
    return canvases[0] if request.crop_only else session.paste(opened, canvases[0])
