"""`mien edit`: photos in, edited photos or sheets out."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue
from rich.console import Console
from rich.progress import Progress

from mien.editing.claim import Ingredient, Origin
from mien.editing.provenance import check_target, write_edit
from mien.editing.request import Ask, describe_ask
from mien.editing.session import Drawn, Opened, Picture, Session
from mien.editing.strip import edit_strip
from mien.editing.upload import Photo, read_photo, safe_name
from mien.errors import DataError, MienError
from mien.predict.media import IMAGES
from mien.systems.editing.sampler import SampleConfig, batches


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        ask: the edit.
        target: photo whose `ask.modes` are taken; None where there are none.
        target_box: its face; None looks for it, unless `whole`.
        strengths: multiples of the edit; without a sheet the first alone.
        sheet: whether to write a sheet with the original first rather than the edited photo.
        box: the face, left, top, width, height; None looks for it.
        whole: the photos are face crops already; the target, too, unless it has a box.
        crop_only: write the canvas, not the photo with the canvas in its place.
        mark: whether to draw "AI edit".
        guidance: scale of the guidance; None takes the one that the run states.
        sample: how to sample, but for that scale.
    """

    ask: Ask
    strengths: tuple[float, ...]
    sheet: bool
    box: tuple[float, ...] | None
    whole: bool
    crop_only: bool
    mark: bool
    guidance: float | None
    sample: SampleConfig
    target: Path | None = None
    target_box: tuple[float, ...] | None = None


def edit(
    session: Callable[[], Session],
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
        out: file for one photo, else a folder that is made with the first edit.
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
    _check_targets(jobs, out)
    opened_session, written = session(), []
    goal = _open_target(opened_session, request, say)
    steps = request.sample.steps * batches(len(request.strengths), request.sample.batch) * len(jobs)
    with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar:
        task = bar.add_task("editing", total=steps)
        for photo, target in jobs:
            try:
                work = _Work(opened_session, request, goal, say, lambda count: bar.advance(task, count))
                written.append(work.write(photo, target))
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
    jobs = [(photo, out / f"{photo.stem}.png") for photo in found]
    if len({target for _, target in jobs}) < len(jobs):
        raise DataError("two photos have one name", where=out, fix="rename one, or edit them one by one")
    return jobs


def _check_targets(jobs: Sequence[tuple[Path, Path]], out: Path) -> None:
    """Raise DataError where an edit could not be written; nothing is made."""
    fix = "give a folder for --out, or a name with a suffix"
    try:
        if out.suffix or out.is_dir():
            for photo, target in jobs:
                check_target(target, photo)
            return
        there = next(path for path in (out, *out.absolute().parents) if path.exists())
    except OSError as error:
        raise DataError(f"cannot be used: {error.strerror}", where=safe_name(out.name), fix=fix) from error
    if not there.is_dir():
        raise DataError("is no folder", where=there, fix=fix)


def _open_target(session: Session, request: Request, say: Callable[[str], None]) -> _Target | None:
    if request.target is None:
        return None
    photo = read_photo(request.target)
    opened = session.open(photo, request.target_box, request.whole and request.target_box is None)
    for line in (*photo.notes, *opened.crop.notes):
        say(f"{photo.name}: {line}")
    return _Target(photo, opened)


@dataclass(frozen=True)
class _Target:
    photo: Photo
    opened: Opened


@dataclass(frozen=True)
class _Work:
    """What all photos of a request share."""

    session: Session
    request: Request
    target: _Target | None
    say: Callable[[str], None]
    note: Callable[[int], None]

    def write(self, source: Path, file: Path) -> Path:
        """Edit one photo."""
        request, session = self.request, self.session
        photo = read_photo(source)
        opened = session.open(photo, request.box, request.whole)
        for line in (*photo.notes, *opened.crop.notes):
            self.say(f"{photo.name}: {line}")
        sample = _sampling(session, request)
        goal = self.target.opened if self.target else None
        drawn = session.draw(opened, request.ask, request.strengths, sample, self.note, goal)
        made = _finish(session, opened, drawn, request)
        origin = Origin(
            created=datetime.datetime.now(datetime.UTC),
            parameters=told(session, request.ask, request.strengths, sample),
            ingredient=Ingredient.of(photo),
            inputs=(Ingredient.of(self.target.photo, "inputTo"),) if self.target else (),
            model=session.model,
        )
        _make_folder(file.parent)
        return write_edit(file, made, origin, source=source, visible_mark=request.mark)


def told(
    session: Session, ask: Ask, strengths: Sequence[float], sample: SampleConfig
) -> dict[str, JsonValue]:
    """What a claim says of a request: the edit, its multiples, how it was sampled."""
    moves = {name: round(float(value), 4) for name, value in ask.moves.items() if value}
    units: dict[str, JsonValue] = {name: by for name, by in moves.items() if name.startswith("AU")}
    others: dict[str, JsonValue] = {name: by for name, by in moves.items() if name not in units}
    return {
        "action_units": units, **({"sliders": others} if others else {}),
        **({"modes": ask.modes} if ask.modes else {}),
        "strengths": list(strengths), "sampler": sample.sampler, "steps": sample.steps,
        "seed": sample.seed, "guidance": sample.guidance.model_dump(mode="json"), **session.facts,
    }  # fmt: skip


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot be made: {error.strerror}", where=folder, fix="give another --out"
        ) from error


def _sampling(session: Session, request: Request) -> SampleConfig:
    scale = session.guidance if request.guidance is None else request.guidance
    guidance = request.sample.guidance.model_copy(update={"scale": scale})
    return request.sample.model_copy(update={"guidance": guidance})


def _finish(session: Session, opened: Opened, drawn: list[Drawn], request: Request) -> Picture:
    if request.sheet:
        heads = [f"x {strength:g}" for strength in request.strengths]
        note = f"{session.model.run}, step {session.model.step}, seed {request.sample.seed}"
        made = [[one.canvas for one in drawn]]
        return edit_strip(opened.crop.canvas, made, [describe_ask(request.ask)], heads, note=note)
    return drawn[0].canvas if request.crop_only else session.place(opened, drawn[0])
