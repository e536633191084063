"""Edits of people never seen, asked for and measured (magicface spec, 6).

The face world draws what every edit should look like, so the reader's own error is a row: what it reads
off the true picture. Nothing better than that row can be measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.estimators.identity import IdentityEstimator, identities
from mien.faces.actions import Actions
from mien.systems.editing.face import Face
from mien.systems.editing.face_pairs import draw_frames
from mien.systems.editing.pair_rules import FULL, UNITS
from mien.systems.editing.pair_videos import Frame, PairPlan, draw_frame
from mien.systems.editing.parsing import blacked, of_world
from mien.systems.facereader.load import Reader

Floats = NDArray[np.floating]
LEVELS = (0.8, 1.6, 2.4, 3.2, 4.0)
"""Intensities that a unit is moved to, FACS levels."""


@dataclass(frozen=True)
class Ask:
    """One face, and what is asked of it.

    Attributes:
        face: source with exact labels, jaw and units.
        vectors: float32 [E, 12], differences.
        units: int [E], index of the unit that each edit moves.
        wanted: float32 [E, 12], intensities that the edits should show.
        true: uint8 [E, 3, S, S], what they should look like.
    """

    face: Face
    vectors: Floats
    units: NDArray[np.int_]
    wanted: Floats
    true: Tensor


def asks(plan: PairPlan, video: int) -> Ask:
    """Each unit of one person's face moved to each of `LEVELS`, the others left as they are."""
    rng = np.random.default_rng([plan.seed, 9, video])
    frame = draw_frames(plan, plan.person(video), rng)[0]
    vectors, moved, wanted, true = [], [], [], []
    for place, unit in enumerate(UNITS):
        for level in LEVELS:
            shown = _with(plan, frame, unit, level / FULL)
            vectors.append(shown.units - frame.units)
            wanted.append(shown.units)
            true.append(torch.from_numpy(shown.picture.image).permute(2, 0, 1))
            moved.append(place)
    return Ask(face_of(frame), np.stack(vectors), np.array(moved), np.stack(wanted), torch.stack(true))


def face_of(frame: Frame) -> Face:
    """A picture of the face world and what is true of it."""
    picture = frame.picture
    labels = of_world(picture.regions)
    return Face(picture.image, labels, picture.landmarks[:17], picture.resting[:17], frame.units)


def _with(plan: PairPlan, frame: Frame, unit: int, intensity: float) -> Frame:
    """The same picture with one unit at another intensity."""
    given = frame.scene.actions
    actions = Actions({**given.left, unit: intensity}, {**given.right, unit: intensity})
    return draw_frame(plan, replace(frame.scene, actions=actions))


@dataclass(frozen=True)
class Scores:
    """How edits came out; E edits of all faces together.

    Attributes:
        unit: int [E], which unit was moved.
        asked: float [E, 12], differences asked for.
        moved: float [E, 12], change from source to edit, measured on both pictures together.
        wanted: float [E, 12], intensities asked for.
        shown: float [E, 12], intensities measured on the edit alone.
        identity: float [E], L2 distance of the identity rows of edit and source.
        background: float [E], RMSE outside the mask, of values 0..1.
        pose: float [E], RMSE of pitch, yaw and roll in degrees, edit against source.
        picture: float [E], RMSE to the true picture, of values 0..1.
    """

    unit: NDArray[np.int_]
    asked: Floats
    moved: Floats
    wanted: Floats
    shown: Floats
    identity: Floats
    background: Floats
    pose: Floats
    picture: Floats

    @property
    def error(self) -> Floats:
        """Mean absolute error of the moved unit's change, for each of the 12; nan where none moved."""
        return self._by_unit(np.abs(self.moved - self.asked))

    @property
    def correlation(self) -> Floats:
        """Of asked and measured change, for each unit; 0 where nothing moves."""
        found = []
        for place in range(len(UNITS)):
            here = self.unit == place
            asked, moved = self.asked[here, place], self.moved[here, place]
            still = np.ptp(asked) == 0 or np.ptp(moved) == 0
            found.append(0.0 if still else float(np.corrcoef(asked, moved)[0, 1]))
        return np.array(found)

    @property
    def leakage(self) -> Floats:
        """[12, 12]: mean change of unit j per level asked of unit i, by least squares through zero."""
        rows = []
        for place in range(len(UNITS)):
            here = self.unit == place
            asked = self.asked[here, place]
            rows.append(asked @ self.moved[here] / max(float(asked @ asked), 1e-9))
        return np.stack(rows)

    @property
    def square(self) -> float:
        """Mean squared error of all 12 intensities, read off the edit alone: the paper's AU number."""
        return float(np.square(self.shown - self.wanted).mean())

    def _by_unit(self, values: Floats) -> Floats:
        return np.array([values[self.unit == place, place].mean() for place in range(len(UNITS))])


def score(
    asked: Sequence[Ask],
    make: Callable[[Ask], Tensor],
    reader: Reader,
    identity: IdentityEstimator | None = None,
) -> Scores:
    """Measure what `make` does of each ask.

    Args:
        asked: faces, and what is asked of them.
        make: gives the edits of an ask, uint8 [E, 3, S, S].
        reader: reads changes, units, pose and, unless `identity` is given, who it is.
        identity: tells how far the person moved; None takes the reader.

    Raises:
        DataError: if `identity` gives no rows.
        RunError: if the reader was not trained to read changes.
    """
    parts = [_score_one(ask, make(ask), reader, identity) for ask in asked]
    return Scores(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _score_one(
    ask: Ask, made: Tensor, reader: Reader, identity: IdentityEstimator | None
) -> tuple[NDArray, ...]:
    source = torch.from_numpy(ask.face.picture.copy()).permute(2, 0, 1)[None]
    before, after = reader.measure(source), reader.measure(made)
    outside = torch.from_numpy(~blacked(ask.face.labels, "person"))
    if identity is None:
        away_from_self = _distance(before.identity, after.identity)
    else:
        away_from_self = _distance(identities(identity, source), identities(identity, made))
    apart = (made.float() - source.float()) / 255
    missed = ((made.float() - ask.true.float()) / 255).square().mean((1, 2, 3)).sqrt()
    away = apart.square().mean(1)[:, outside].mean(1).sqrt()
    turned = (after.pose - before.pose).square().mean(1).sqrt()
    return (
        ask.units, ask.vectors, reader.changes(source.expand_as(made), made).numpy(), ask.wanted,
        after.units.numpy(), away_from_self, away.numpy(), turned.numpy(), missed.numpy(),
    )  # fmt: skip


def _distance(before: Tensor, after: Tensor) -> Floats:
    return (after - before).norm(dim=1).numpy()
