"""What the page does, without a page: a photo taken in, a strip, an edit, files that carry their claim.

Every picture of an edit that leaves it is a file with the claim in it, those that are only shown too: a
browser saves what it shows.
"""

from __future__ import annotations

import datetime
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from mien.editing.claim import Ingredient, Origin
from mien.editing.command import told
from mien.editing.provenance import write_edit
from mien.editing.request import Ask, describe_ask
from mien.editing.session import NoFace, Opened, Picture, Session
from mien.editing.strip import edit_strip
from mien.editing.upload import Photo, read_photo, safe_name
from mien.errors import DataError, MienError
from mien.systems.editing.sampler import SampleConfig

STRENGTHS = (0.25, 0.5, 1.0, 1.5)
"""Of the strip, multiples of what the controls say."""
MAX_UPLOAD = 32 << 20
"""Largest upload, bytes."""
SHOWN = 640
"""Longest side of a picture on the page, pixels."""
KEPT = 3600
"""Seconds that files of the page, and what it knows of a visitor, are kept; all go when it ends."""


@dataclass(frozen=True)
class Asked:
    """What a person asks for.

    Attributes:
        ask: the edit.
        strength: multiple of it.
        sample: how to sample.
        mark: whether to draw "AI edit".
    """

    ask: Ask
    strength: float
    sample: SampleConfig
    mark: bool


@dataclass(frozen=True)
class Edited:
    """An edit as files.

    Attributes:
        before, after: the face before and after, as the page shows it.
        whole: the photo with the edit in it, a PNG to keep.
    """

    before: Path
    after: Path
    whole: Path


class Studio:
    """A session, and a folder for what it makes.

    Args:
        session: run and reader, of any system that edits.
        folder: for files; whoever made it deletes it.
    """

    def __init__(self, session: Session, folder: Path) -> None:
        self.session, self.folder = session, folder

    def take(self, photo: Photo, whole: bool) -> Opened:
        """Find the face of a photo; `whole` says that it is a face crop.

        Raises:
            DataError: if there is no face.
        """
        try:
            return self.session.open(photo, whole=whole)
        except NoFace as error:
            fix = "give a photo of one face from the front, or tick that it is a face crop already"
            raise DataError("no face found", where=photo.name, fix=fix) from error

    def receive(self, upload: Path, whole: bool) -> Opened:
        """Read an uploaded file, which is deleted, and find its face.

        Raises:
            DataError: one line, for a file that is no photo, or holds no face.
        """
        if not upload.is_file():
            raise DataError("the upload is gone", where=safe_name(upload.name), fix="send it again")
        try:
            photo = read_photo(upload)
        finally:
            upload.unlink(missing_ok=True)
        return self.take(photo, whole)

    def shown(self, opened: Opened) -> Picture:
        """The face before any edit, as the page shows it, uint8 [h, w, 3]."""
        return _fitted(opened.photo.pixels[opened.crop.covered])

    def strip(self, opened: Opened, asked: Asked) -> Path:
        """A sheet of the edit at `STRENGTHS`, as a file.

        Raises:
            MienError: if no control has been moved.
        """
        _require_change(asked)
        drawn = self.session.draw(opened, asked.ask, STRENGTHS, asked.sample)
        heads = [f"x {strength:g}" for strength in STRENGTHS]
        made, title = [[one.canvas for one in drawn]], describe_ask(asked.ask)
        sheet = edit_strip(opened.crop.canvas, made, [""], heads, title=title)
        return self._save(sheet, "strip", opened.photo, self._origin(opened, asked, STRENGTHS), asked.mark)

    def edit(self, opened: Opened, asked: Asked) -> Edited:
        """The photo with the edit in it.

        Raises:
            MienError: if no control has been moved.
        """
        _require_change(asked)
        (drawn,) = self.session.draw(opened, asked.ask, [asked.strength], asked.sample)
        made, photo = self.session.place(opened, drawn), opened.photo
        origin = self._origin(opened, asked, [asked.strength])
        before = self._plain(self.shown(opened))
        after = self._save(_fitted(made[opened.crop.covered]), "after", photo, origin, asked.mark)
        return Edited(before, after, self._save(made, "edit", photo, origin, asked.mark))

    def _origin(self, opened: Opened, asked: Asked, strengths: Sequence[float]) -> Origin:
        return Origin(
            created=datetime.datetime.now(datetime.UTC),
            parameters=told(self.session, asked.ask, strengths, asked.sample),
            ingredient=Ingredient.of(opened.photo),
            model=self.session.model,
        )

    def _save(self, pixels: Picture, what: str, photo: Photo, origin: Origin, mark: bool) -> Path:
        name = safe_name(f"{PurePath(photo.name).stem} {what}.png")
        return write_edit(self._room() / name, pixels, origin, visible_mark=mark)

    def _plain(self, pixels: Picture) -> Path:
        path = self._room() / "before.png"
        Image.fromarray(pixels).save(path)
        return path

    def _room(self) -> Path:
        """A new folder, so that files of two people never meet; old ones go."""
        for room in self.folder.iterdir():
            if time.time() - room.stat().st_mtime > KEPT:
                shutil.rmtree(room)
        return Path(tempfile.mkdtemp(dir=self.folder))


def _require_change(asked: Asked) -> None:
    if not asked.ask.moves or not asked.strength:
        raise MienError("nothing to edit", where="controls", fix="move a slider")


def _fitted(pixels: Picture) -> Picture:
    """Made smaller where a side is longer than `SHOWN`."""
    factor = SHOWN / max(pixels.shape[:2])
    if factor >= 1:
        return pixels
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
