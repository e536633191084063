"""Edits by a 3D face of people never seen, asked for and measured (rigface spec, 6).

The face world draws the true result of every edit, so control, preservation and reconstruction are all
measured against truth, and the measuring tools' own errors are a row: the true picture's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from mien.evaluation.edits import face_of
from mien.evaluation.lighting import seen_light, true_light
from mien.faces.light import sample_light
from mien.faces.rig import open_rig
from mien.faces.scene import Scene
from mien.systems.editing.face import Face
from mien.systems.editing.pair_rules import FULL
from mien.systems.editing.pair_rules import UNITS as READ
from mien.systems.editing.pair_videos import PairPlan, draw_frame
from mien.systems.editing.parsing import CLASSES, blacked, of_world
from mien.systems.facereader.load import Reader
from mien.systems.rigface.backend import open_backend
from mien.systems.rigface.background import person_mask
from mien.systems.rigface.codes import UNITS, Codes, codes_of
from mien.systems.rigface.framing import scene_of
from mien.systems.rigface.modes import EDITS, Edit, head_turn, mix
from mien.systems.rigface.pairs import draw_scenes, sample_face
from mien.systems.rigface.rendering import RigRendering

Floats = NDArray[np.floating]
_STREAM = 11  # of random numbers, beside those of the makers of sets
_HARDNESS = (0.2, 0.8)
_SKIN = tuple(CLASSES.index(name) for name in ("skin", "nose", "neck"))


@dataclass(frozen=True)
class RigAsk:
    """One face, and what is asked of it: each of `modes.EDITS`, once of the person's own target, once of
    another person's.

    Attributes:
        face: source with exact labels.
        source: its codes.
        edits: which codes each edit takes.
        cross: bool [E], whether the target is another person.
        edited: the codes that each edit should show.
        drawn: the rig's drawing of the source, then of each edit.
        true: uint8 [E, 3, S, S], what they should look like.
        skin: bool [1 + E, S, S], bare skin of the source, then of the true results.
    """

    face: Face
    source: Codes
    edits: tuple[Edit, ...]
    cross: NDArray[np.bool_]
    edited: tuple[Codes, ...]
    drawn: tuple[RigRendering, ...]
    true: Tensor
    skin: NDArray[np.bool_]


def rig_asks(plan: PairPlan, video: int) -> RigAsk:
    """What is asked of one person's face: the same face, pose and light of the target in all edits."""
    rng = np.random.default_rng([plan.seed, _STREAM, video])
    rig, backend = open_rig(plan.rig), open_backend(plan.rig)
    base, *more = draw_scenes(plan, plan.person(video), rng)
    own = next(scene for scene in more if scene.pose != base.pose)
    other = draw_scenes(plan, plan.person(video + 1), rng)[0]
    source = codes_of(base)
    targets = [codes_of(_changed(scene, rng)) for scene in (own, other)]
    edits = EDITS * len(targets)
    edited = tuple(mix(source, target, edit.modes) for target in targets for edit in EDITS)
    frame = draw_frame(plan, base)
    true = [draw_frame(plan, scene_of(codes, base, rig)).picture for codes in edited]
    skin = np.stack([np.isin(of_world(each.regions), _SKIN) for each in (frame.picture, *true)])
    return RigAsk(
        face_of(frame),
        source,
        edits,
        np.repeat([False, True], len(EDITS)),
        edited,
        tuple(backend.render(codes, plan.size) for codes in (source, *edited)),
        torch.from_numpy(np.stack([each.image for each in true])).permute(0, 3, 1, 2),
        skin,
    )


def _changed(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with a face and a light of its own: half of all videos keep one light."""
    light = sample_light(rng, float(rng.uniform(*_HARDNESS)))
    return replace(scene, actions=sample_face(rng), light=light)


@dataclass(frozen=True)
class RigScores:
    """How edits came out; E edits of all faces together. Asked and measured are both changes of the source.

    Attributes:
        modes: of each edit, E texts such as "exp+light".
        cross: bool [E].
        units: float [2, E, 12], asked and measured change of action units, FACS levels.
        pose: float [E], angle between the asked and the measured pose, degrees.
        light: float [2, E, 32, 3], asked and measured change of what surfaces of 32 directions reflect.
        identity: float [E], L2 distance of the identity rows of edit and source.
        background: float [E], RMSE to the source outside what the edit may draw, of values 0..1.
        picture: float [E], RMSE to the true picture, of values 0..1.
        face: float [E], the same where the true picture or the edit's rendering shows a face.
    """

    modes: NDArray[np.str_]
    cross: NDArray[np.bool_]
    units: Floats
    pose: Floats
    light: Floats
    identity: Floats
    background: Floats
    picture: Floats
    face: Floats

    def of(self, chosen: NDArray[np.bool_]) -> RigScores:
        """Those edits alone."""
        return RigScores(
            self.modes[chosen], self.cross[chosen], self.units[:, chosen], self.pose[chosen],
            self.light[:, chosen], self.identity[chosen], self.background[chosen], self.picture[chosen],
            self.face[chosen],
        )  # fmt: skip

    def asks(self, mode: str) -> NDArray[np.bool_]:
        """Which edits change `mode`, bool [E]."""
        return np.array([mode in modes.split("+") for modes in self.modes])

    @property
    def expression(self) -> float:
        """Error of all 12 units' changes over that of no edit; nan where no change was asked for."""
        asked, moved = self.units
        total = float(np.abs(asked).sum())
        return float(np.abs(moved - asked).sum()) / total if total else float("nan")

    @property
    def drift(self) -> float:
        """Mean measured change of the units, FACS levels: of edits that should change none."""
        return float(np.abs(self.units[1]).mean())

    @property
    def lit(self) -> float:
        """Correlation of asked and measured change of light; 0 where nothing moves."""
        asked, moved = self.light.reshape(2, -1)
        still = np.ptp(asked) == 0 or np.ptp(moved) == 0
        return 0.0 if still else float(np.corrcoef(asked, moved)[0, 1])


def rig_score(asked: Sequence[RigAsk], make: Callable[[RigAsk], Tensor], reader: Reader) -> RigScores:
    """Measure what `make` does of each ask.

    Args:
        asked: faces, and what is asked of them.
        make: gives the edits of an ask, uint8 [E, 3, S, S].
        reader: reads changes of units, pose and who it is.

    Raises:
        RunError: if the reader was not trained to read changes.
    """
    parts = [_score_one(ask, make(ask), reader) for ask in asked]
    names = RigScores.__dataclass_fields__
    columns = dict(zip(names, zip(*parts, strict=True), strict=True))
    axis = {"units": 1, "light": 1}
    return RigScores(**{name: np.concatenate(column, axis.get(name, 0)) for name, column in columns.items()})


def _score_one(ask: RigAsk, made: Tensor, reader: Reader) -> tuple[NDArray, ...]:
    source = torch.from_numpy(ask.face.picture.copy()).permute(2, 0, 1)[None]
    before, after = reader.measure(source), reader.measure(made)
    units = np.stack([_units(ask), reader.changes(source.expand_as(made), made).numpy()])
    outside = np.stack([~_may_draw(ask, number) for number in range(len(made))])
    pictures = made.permute(0, 2, 3, 1).numpy()
    shown = blacked(ask.face.labels, "face") | (np.stack([one.alpha for one in ask.drawn[1:]]) > 0)
    missed = _squares(pictures, ask.true.permute(0, 2, 3, 1).numpy())
    return (
        np.array([str(edit) for edit in ask.edits]),
        ask.cross,
        units,
        np.array([_apart(codes, pose) for codes, pose in zip(ask.edited, after.pose.numpy(), strict=True)]),
        _lights(ask, pictures),
        (after.identity - before.identity).norm(dim=1).numpy(),
        _root(_squares(pictures, ask.face.picture), outside),
        _root(missed, np.ones_like(shown)),
        _root(missed, shown),
    )


def _units(ask: RigAsk) -> Floats:
    """Asked change of what the reader reads, [E, 12]: means of both sides."""
    both = [codes.expression.reshape(-1, 2).mean(1) for codes in (ask.source, *ask.edited)]
    levels = FULL * np.stack(both)[:, [UNITS.index(unit) for unit in READ]]
    changes: Floats = levels[1:] - levels[:1]
    return changes


def _may_draw(ask: RigAsk, number: int) -> NDArray[np.bool_]:
    other = ask.drawn[number + 1].alpha if "pose" in ask.edits[number].modes else None
    return person_mask(ask.face.labels, other)


def _apart(codes: Codes, pose: Floats) -> float:
    yaw, pitch, roll = (float(angle) for angle in pose)
    between: Rotation = head_turn(codes.pose) * head_turn((yaw, pitch, roll)).inv()
    return float(np.rad2deg(between.magnitude()))


def _lights(ask: RigAsk, pictures: NDArray[np.uint8]) -> Floats:
    """Asked and measured change, [2, E, 32, 3]; the source tells how strong a picture shows a light."""
    before, true = seen_light(ask.face.picture, ask.drawn[0], ask.skin[0]), true_light(ask.source.light)
    strength = float((before * true).sum() / max(float((before * before).sum()), 1e-9))
    asked = np.stack([true_light(codes.light) - true for codes in ask.edited])
    after = [
        seen_light(picture, drawn, skin)
        for picture, drawn, skin in zip(pictures, ask.drawn[1:], ask.skin[1:], strict=True)
    ]
    return np.stack([asked, strength * (np.stack(after) - before)])


def _squares(pictures: NDArray[np.uint8], true: NDArray[np.uint8]) -> Floats:
    """Mean squares over the colours, [E, S, S]."""
    apart = (pictures.astype(np.float32) - true.astype(np.float32)) / 255
    squares: Floats = np.square(apart).mean(-1)
    return squares


def _root(squares: Floats, where: NDArray[np.bool_]) -> Floats:
    """Root of the mean where `where` holds, [E]; 0 where nowhere."""
    total = (squares * where).sum((1, 2))
    found: Floats = np.sqrt(total / np.maximum(where.sum((1, 2)), 1))
    return found
