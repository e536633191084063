"""A run of RigFace, a face reader and photos; and which session a run needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from mien.editing.controls import CONTROLS
from mien.editing.request import Ask, cannot
from mien.editing.session import Drawn, EditSession, Opened, Session, canvases
from mien.editing.upload import Photo
from mien.engine.rundir import RunFolder
from mien.errors import MienError, RunError
from mien.systems.editing.pair_rules import FULL
from mien.systems.editing.sampler import SampleConfig
from mien.systems.facereader.codes import SPACE
from mien.systems.rigface.codes import Codes
from mien.systems.rigface.config import BACKENDS, RigFaceModel
from mien.systems.rigface.load import PLAIN, RigFace
from mien.systems.rigface.load import load as load_rigface
from mien.systems.rigface.modes import mix
from mien.systems.rigface.sliders import Sliders


class RigSession(Session):
    """An editor by a 3D face, and a reader of such faces.

    Args:
        run: run folder of rigface.
        reader: run folder of facereader that reads codes; None takes the newest such one beside the run.
        which: checkpoint of the editor: `last`, `best` or a step.
        rig: what draws, as `backend.open_backend` takes it.

    Raises:
        RunError: if a run cannot be used, is of another system or steered by a 3D face that nothing here
            reads off photos, or there is no reader.
        DataError: if the rig cannot be opened.
    """

    system = "rigface"
    grow = 0.0  # the masks have grown already, by `background.DILATION`

    def __init__(
        self, run: Path, reader: Path | None = None, which: str = "last", rig: str | Path = "builtin"
    ) -> None:
        _check_space(run)
        super().__init__(run, reader, which, codes=True)
        self.editor: RigFace = load_rigface(run, which, rig=rig)
        self.guidance = PLAIN.guidance.scale
        self.facts = {"backend": self.editor.config.backend}

    @property
    def size(self) -> int:
        """See `Session`."""
        return self.editor.size

    @property
    def share(self) -> float:
        """See `Session`."""
        return self.editor.config.face_share

    def open(self, photo: Photo, box: tuple[float, ...] | None = None, whole: bool = False) -> Opened:
        """See `Session.open`; reads the codes, too."""
        opened = super().open(photo, box, whole)
        return replace(opened, codes=self.reader.codes(opened.crop.canvas))

    def draw(
        self,
        opened: Opened,
        ask: Ask,
        strengths: Sequence[float],
        config: SampleConfig,
        note: Callable[[int], None] = lambda count: None,
        target: Opened | None = None,
    ) -> list[Drawn]:
        """See `Session.draw`."""
        goal = target.codes if target is not None else None
        edited = [edited_codes(codes_of(opened), ask, strength, goal) for strength in strengths]
        return self.edit(opened, edited, config, note)

    def edit(
        self,
        opened: Opened,
        edited: Sequence[Codes],
        config: SampleConfig,
        note: Callable[[int], None] = lambda count: None,
    ) -> list[Drawn]:
        """A canvas for each of `edited`: the photo's codes after an edit."""
        source, face = codes_of(opened), opened.face
        made = self.editor.edit(face.picture, face.labels, source, edited, config, note)
        masks = [self.editor.mask(face.labels, source, codes) for codes in edited]
        return [Drawn(canvas, mask) for canvas, mask in zip(canvases(made), masks, strict=True)]


def codes_of(opened: Opened) -> Codes:
    """The 3D face of a photo that a `RigSession` opened."""
    assert opened.codes is not None, "open the photo with the session that edits it"
    return opened.codes


def edited_codes(source: Codes, ask: Ask, strength: float, target: Codes | None = None) -> Codes:
    """A photo's codes after a request: first what comes of the target, then the moves, both at `strength`.

    Args:
        source: of the photo.
        ask: what is asked for.
        strength: 0 is the photo, 1 the request.
        target: where `ask.modes` come from.

    Raises:
        MienError: if modes are asked for and there is no target, or a number is out of range.
    """
    codes = source
    if ask.modes is not None:
        if target is None:
            raise MienError("modes without a target", where="request", fix="open a target and give it")
        codes = mix(source, target, ask.modes, strength)
    return sliders_of(ask, strength).apply(codes)


def sliders_of(ask: Ask, strength: float) -> Sliders:
    """The moves of a request times `strength`; FACS levels become the rig's 0 to 1.

    Raises:
        MienError: for a move that no control has.
    """
    known = {control.name for control in CONTROLS["rigface"]}
    units = {name: change for name, change in ask.moves.items() if name.startswith("AU")}
    for name in ask.moves:
        if name.rstrip("LR") not in known:
            raise MienError(f"nothing moves {name!r}", where="request", fix=f"one of: {', '.join(known)}")
    yaw, pitch, roll, light = (
        strength * ask.moves.get(name, 0.0) for name in ("yaw", "pitch", "roll", "light")
    )
    gain = 1 + strength * (ask.moves.get("light_gain", 1.0) - 1)
    return Sliders(
        yaw, pitch, roll, light, max(0.0, gain),
        tuple(f"{name}={strength * change / FULL:+.6f}" for name, change in units.items()),
    )  # fmt: skip


def system_of(run: Path) -> str:
    """The system of a run that edits photos.

    Raises:
        RunError: if it is no run, or one of another kind.
    """
    system = RunFolder.open(run).recipe.system
    if system not in CONTROLS:
        fix = f"give a run of {' or '.join(CONTROLS)}"
        raise RunError(f"a run of {system} edits no faces", where=run, fix=fix)
    return system


def open_session(
    run: Path, reader: Path | None = None, which: str = "last", rig: Path | None = None
) -> Session:
    """The session that a run needs; arguments and errors as of `EditSession` and `RigSession`.

    Raises:
        MienError: also for a rig where no 3D face is drawn.
    """
    if system_of(run) == "rigface":
        return RigSession(run, reader, which, rig or "builtin")
    if rig is not None:
        raise cannot("magicface", "--rig")
    return EditSession(run, reader, which)


def _check_space(run: Path) -> None:
    model = RunFolder.open(run).recipe.model
    if isinstance(model, RigFaceModel) and BACKENDS[model.backend].space != SPACE:
        what = f"is steered by backend {model.backend}, whose codes no reader here reads off a photo"
        fix = "edit in Python with codes of your own: mien.systems.rigface.load"
        raise RunError(what, where=run, fix=fix)
