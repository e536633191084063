"""A run, a face reader and photos: what the command and the page both do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor

from mien.editing.claim import Model
from mien.editing.composite import composite
from mien.editing.controls import CONTROLS
from mien.editing.crop import Crop, crop_face, largest
from mien.editing.request import Ask, describe_ask, vector_of
from mien.editing.upload import Photo
from mien.engine import runs
from mien.engine.rundir import RunFolder
from mien.errors import DataError, MienError, RunError
from mien.systems.editing.face import Face
from mien.systems.editing.parsing import blacked
from mien.systems.editing.sampler import SampleConfig
from mien.systems.facereader.config import ReaderModel
from mien.systems.facereader.load import Reader, no_codes
from mien.systems.facereader.load import load as load_reader
from mien.systems.magicface.load import MagicFace
from mien.systems.magicface.load import load as load_magicface
from mien.systems.rigface.codes import Codes

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
        codes: its 3D face, for editors that a 3D face steers; else None.
    """

    photo: Photo
    crop: Crop
    face: Face
    codes: Codes | None = None


@dataclass(frozen=True)
class Drawn:
    """An edited canvas.

    Attributes:
        canvas: uint8 [S, S, 3].
        mask: bool [S, S], where the editor was allowed to draw.
    """

    canvas: Picture
    mask: NDArray[np.bool_]


class Session(ABC):
    """An editor and a reader, loaded once; what the command and the page need of any system.

    Attributes:
        system: that of the run.
        controls: what can be moved.
        reader: of faces.
        model: the run, as a claim names it.
        guidance: scale of the guidance that edits are made with unless told otherwise.
        facts: of the run, what a claim tells beside.
    """

    system: ClassVar[str]
    grow: ClassVar[float]
    """How far a mask grows before the canvas is pasted, as a part of its side."""
    guidance: float
    facts: dict[str, JsonValue]

    def __init__(self, run: Path, reader: Path | None, which: str, codes: bool) -> None:
        folder = RunFolder.open(run)
        if folder.recipe.system != self.system:
            what = f"a run of {folder.recipe.system} edits no faces as {self.system} does"
            raise RunError(what, where=run, fix=f"give a run of {self.system}")
        self.reader: Reader = load_reader(reader or find_reader(folder, codes))
        if codes and not self.reader.reads_codes:
            raise no_codes(reader or "reader")
        self.controls = CONTROLS[self.system]
        self.model = Model(
            run=folder.path.name, recipe_hash=folder.recipe.hash, step=folder.checkpoint(which).step
        )

    @property
    @abstractmethod
    def size(self) -> int:
        """Side of the canvas, pixels."""

    @property
    @abstractmethod
    def share(self) -> float:
        """Width of a detector's box as a part of that side."""

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
        crop = crop_face(photo.pixels, box, self.size, whole=whole, share=self.share)
        return Opened(photo, crop, self.reader.read(crop.canvas))

    @abstractmethod
    def draw(
        self,
        opened: Opened,
        ask: Ask,
        strengths: Sequence[float],
        config: SampleConfig,
        note: Callable[[int], None] = lambda count: None,
        target: Opened | None = None,
    ) -> list[Drawn]:
        """One edit of a photo at several strengths; 0 is none, 1 is what is asked for.

        Args:
            opened: the photo.
            ask: what to do, from `request.make_ask`, or `Ask` with names of `controls`.
            strengths: one or more.
            config: how to sample.
            note: told of sampler steps done, see `sampler.sample`.
            target: another photo, opened here, whose `ask.modes` are taken.

        Raises:
            MienError: for a request that this editor cannot do.
        """

    def place(self, opened: Opened, drawn: Drawn) -> Picture:
        """The photo, uint8 [H, W, 3], with an edited canvas in the place of its face."""
        photo = opened.photo.pixels
        return composite(photo, opened.crop, drawn.canvas, drawn.mask, dilate=self.grow).pixels


class EditSession(Session):
    """An editor by action units and a reader.

    Args:
        run: run folder of magicface.
        reader: run folder of facereader; None takes the newest finished one beside the run.
        which: checkpoint of the editor: `last`, `best` or a step.

    Raises:
        RunError: if a run cannot be used, is of another system, or there is no reader.
    """

    system = "magicface"
    grow = 0.03

    def __init__(self, run: Path, reader: Path | None = None, which: str = "last") -> None:
        super().__init__(run, reader, which, codes=False)
        self.editor: MagicFace = load_magicface(run, which)
        self.guidance = self.editor.config.guidance
        self.facts = {"mask_mode": self.editor.config.mask_mode}

    @property
    def size(self) -> int:
        """See `Session`."""
        return self.editor.size

    @property
    def share(self) -> float:
        """See `Session`."""
        return self.editor.config.face_share

    def draw(
        self,
        opened: Opened,
        ask: Ask,
        strengths: Sequence[float],
        config: SampleConfig,
        note: Callable[[int], None] = lambda count: None,
        target: Opened | None = None,
    ) -> list[Drawn]:
        """See `Session.draw`; takes moves of action units only."""
        if ask.modes is not None or not ask.moves.keys() <= {control.name for control in self.controls}:
            what = f"{describe_ask(ask)!r} is not of action units alone"
            raise MienError(what, where="request", fix="give a run of rigface")
        whole = vector_of(ask.moves)
        vectors = np.stack([strength * whole for strength in strengths]).astype(np.float32)
        mask = self._mask(opened)
        return [Drawn(canvas, mask) for canvas in self.edit(opened, vectors, config, note)]

    def edit(
        self,
        opened: Opened,
        vectors: NDArray[np.float32],
        config: SampleConfig,
        note: Callable[[int], None] = lambda count: None,
    ) -> list[Picture]:
        """Canvases uint8 [S, S, 3], one for each row of `vectors` float32 [E, 12]."""
        made = self.editor.edit(opened.face, torch.from_numpy(vectors), config, note)
        return canvases(made)

    def paste(self, opened: Opened, canvas: Picture) -> Picture:
        """The photo with an edited canvas in the place of its face."""
        return self.place(opened, Drawn(canvas, self._mask(opened)))

    def _mask(self, opened: Opened) -> NDArray[np.bool_]:
        return blacked(opened.face.labels, self.editor.config.mask_mode)


def canvases(made: Tensor) -> list[Picture]:
    """Edits uint8 [E, 3, S, S] as pictures uint8 [S, S, 3]."""
    return [picture.permute(1, 2, 0).contiguous().numpy() for picture in made]


def find_reader(run: RunFolder, codes: bool = False) -> Path:
    """The newest finished run of a face reader under the root that a run lies in.

    Args:
        run: of the editor.
        codes: whether it must read the codes of 3D faces.

    Raises:
        RunError: if there is none.
    """
    root = run.path.resolve().parents[2]
    for one in runs.find(root):
        if one.recipe.startswith(READER) and one.state == "finished" and (not codes or _reads(one.path)):
            return one.path
    recipe, what = ("rig_tiny", "3D faces") if codes else ("tiny", "mouth, jaw and hair")
    fix = f"train one (mien train facereader/{recipe}), or give another with --reader"
    raise RunError(f"no run of a face reader, which finds {what}", where=root, fix=fix)


def _reads(run: Path) -> bool:
    model = RunFolder.open(run).recipe.model
    return isinstance(model, ReaderModel) and model.codes


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
