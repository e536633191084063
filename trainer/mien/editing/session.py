"""A run, a face reader and photos: what the command and the page both do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mien.editing.claim import Model
from mien.editing.composite import composite
from mien.editing.crop import Crop, crop_face, largest
from mien.editing.upload import Photo
from mien.engine import runs
from mien.engine.rundir import RunFolder
from mien.errors import DataError, RunError
from mien.systems.editing.face import Face
from mien.systems.editing.parsing import blacked
from mien.systems.editing.sampler import SampleConfig
from mien.systems.facereader.load import Reader
from mien.systems.facereader.load import load as load_reader
from mien.systems.magicface.load import MagicFace
from mien.systems.magicface.load import load as load_magicface

Picture = NDArray[np.uint8]
READER = "facereader"


class NoFace(DataError):
    """A photo in which no face is found; a page and a command mend it in their own words."""


@dataclass(frozen=True)
class Opened:
    """A photo with its face found and read.

    Attributes:
        photo: as it was given.
        crop: where the face lies in it.
        face: what is known of the canvas.
    """

    photo: Photo
    crop: Crop
    face: Face


class EditSession:
    """An editor and a reader, loaded once.

    Args:
        run: run folder of magicface.
        reader: run folder of facereader; None takes the newest finished one beside the run.
        which: checkpoint of the editor: `last`, `best` or a step.

    Raises:
        RunError: if a run cannot be used, is of another system, or there is no reader.
    """

    def __init__(self, run: Path, reader: Path | None = None, which: str = "last") -> None:
        folder = RunFolder.open(run)
        if folder.recipe.system != "magicface":
            what = f"a run of {folder.recipe.system} edits no faces"
            raise RunError(what, where=run, fix="give a run of magicface")
        self.editor: MagicFace = load_magicface(run, which)
        self.reader: Reader = load_reader(reader or find_reader(folder))
        self.model = Model(
            run=folder.path.name, recipe_hash=folder.recipe.hash, step=folder.checkpoint(which).step
        )

    def open(self, photo: Photo, box: tuple[float, ...] | None = None, whole: bool = False) -> Opened:
        """Find and read the face of a photo.

        Args:
            photo: from `upload.read_photo`.
            box: left, top, width and height of the face; None looks for the largest one.
            whole: the photo is a face crop already.

        Raises:
            DataError: if there is no face, or the box does not fit.
        """
        if box is None and not whole:
            box = find_face(photo)
        share = self.editor.config.face_share
        crop = crop_face(photo.pixels, box, self.editor.size, whole=whole, share=share)
        return Opened(photo, crop, self.reader.read(crop.canvas))

    def edit(
        self,
        opened: Opened,
        vectors: NDArray[np.float32],
        config: SampleConfig,
        note: Callable[[int], None] = lambda count: None,
    ) -> list[Picture]:
        """Canvases uint8 [S, S, 3], one for each row of `vectors` float32 [E, 12]."""
        made = self.editor.edit(opened.face, torch.from_numpy(vectors), config, note)
        return [picture.permute(1, 2, 0).contiguous().numpy() for picture in made]

    def paste(self, opened: Opened, canvas: Picture) -> Picture:
        """The photo with an edited canvas in the place of its face."""
        mask = blacked(opened.face.labels, self.editor.config.mask_mode)
        return composite(opened.photo.pixels, opened.crop, canvas, mask).pixels


def find_reader(run: RunFolder) -> Path:
    """The newest finished run of a face reader under the root that a run lies in.

    Raises:
        RunError: if there is none.
    """
    root = run.path.resolve().parents[2]
    found = [one for one in runs.find(root) if one.recipe.startswith(READER) and one.state == "finished"]
    if not found:
        fix = "train one (mien train facereader/tiny), or give another with --reader"
        raise RunError("no run of a face reader, which finds mouth, jaw and hair", where=root, fix=fix)
    return found[0].path


def find_face(photo: Photo) -> tuple[float, ...]:
    """Box of the largest face, by the detector whose weights come with a package.

    Raises:
        NoFace: if none is found.
        DataError: if the detector is not installed.
    """
    try:
        from mien.corpus.detect import open_detector

        detector = open_detector("mtcnn")
    except ImportError as error:
        fix = "pip install 'mien[corpus]', or give --box, or --whole for a face crop"
        raise DataError(f"no face detector: {error}", where=photo.name, fix=fix) from error
    found = detector(photo.pixels, smallest=min(photo.pixels.shape[:2]) / 12)
    if not len(found.boxes):
        fix = "give --box x,y,w,h, or --whole if the photo is a face crop already"
        raise NoFace("no face found", where=photo.name, fix=fix)
    return tuple(float(number) for number in found.boxes[largest(found.boxes)])
