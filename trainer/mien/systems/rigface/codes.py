"""What a 3D face is drawn from: who, expression, pose, light, camera (rigface spec, 2: 3D fit)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.errors import DataError
from mien.faces.actions import ACTION_UNITS, Actions
from mien.faces.camera import Camera
from mien.faces.person import SHAPE_SIZE
from mien.faces.scene import Scene
from mien.faces.skin import skin_tone

Pose = tuple[float, float, float]
"""Yaw, pitch, roll in degrees; signs as in `mien.faces.camera.rotation`."""

UNITS = tuple(sorted(ACTION_UNITS))
"""Action units of psi in its order."""

SPACES: dict[str, tuple[int, int]] = {
    "world": (SHAPE_SIZE, 2 * len(UNITS)),
    "flame": (100, 53),
}
"""Code spaces: length of the shape and of the expression.

"world": the rigs of `mien.faces`. Expression psi[2 k] is the intensity of the k-th of `UNITS` on the person's
left, psi[2 k + 1] on the right; 0 is rest, 1 is FACS E at its fullest.
"flame": as DECA fits it; 50 expression coefficients, then the jaw's axis-angle rotation in radians.
"""

_NEAREST = 20.0
_FIX = "take codes from codes_of, from mix or from a record that this version of mien wrote"


@dataclass(frozen=True, eq=False)
class Codes:
    """One face in one picture. Arrays are float32 and finite.

    Attributes:
        shape: [S], identity coefficients ~ N(0, 1).
        albedo: [3], linear RGB base colour of the skin in [0, 1]; the coarse part of a texture only, without
            brows, beard, freckles or make-up, which the photograph of the person supplies.
        expression: [E], psi; see `SPACES`. Edits may leave [0, 1]; a backend says what it shows of them.
        pose: of the head.
        boxed: pose in which the camera's crop was taken. It is `pose` for a picture as it was taken; an edit
            of the pose leaves it, so that the head turns in the source's crop (see `framing`).
        light: [9, 3], as in `mien.faces.light`.
        camera: distance and crop.
        gaze: (yaw, pitch) of the eyes relative to the head, degrees.
        space: one of `SPACES`.

    Raises:
        DataError: for a number of the wrong kind, shape or range.
    """

    shape: np.ndarray
    albedo: np.ndarray
    expression: np.ndarray
    pose: Pose
    boxed: Pose
    light: np.ndarray
    camera: Camera
    gaze: tuple[float, float] = (0.0, 0.0)
    space: str = "world"

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise DataError(
                f"no code space {self.space!r}", where="codes.space", fix=f"one of: {', '.join(SPACES)}"
            )
        lengths = SPACES[self.space]
        for name, shape in (
            ("shape", lengths[:1]), ("albedo", (3,)), ("expression", lengths[1:]), ("light", (9, 3)),
        ):  # fmt: skip
            object.__setattr__(self, name, _array(name, getattr(self, name), shape))
        for name, count in (("pose", 3), ("boxed", 3), ("gaze", 2)):
            object.__setattr__(self, name, _angles(name, getattr(self, name), count))
        if self.albedo.min() < 0 or self.albedo.max() > 1:
            raise DataError("an albedo lies outside [0, 1]", where="codes.albedo", fix=_FIX)
        _check_camera(self.camera)


def codes_of(scene: Scene) -> Codes:
    """The exact codes of a scene of the face world, space "world".

    The expression is what the face shows (`Person.act` applied). Exposure, noise and grey are the sensor's
    and not in the codes.
    """
    person = scene.person
    return Codes(
        shape=person.shape,
        albedo=skin_tone(person.melanin, person.blood),
        expression=psi_of(person.act(scene.actions)),
        pose=scene.pose,
        boxed=scene.pose,
        light=scene.light,
        camera=scene.camera,
        gaze=scene.gaze,
    )


def psi_of(actions: Actions) -> np.ndarray:
    """Expression vector, float32 [2 x units], of what a face shows; order as in `SPACES`."""
    sides = [[actions.left.get(unit, 0.0), actions.right.get(unit, 0.0)] for unit in UNITS]
    return np.array(sides, np.float32).ravel()


def actions_of(psi: np.ndarray) -> Actions:
    """The inverse of `psi_of`; entries that are 0 or less stay at rest."""
    sides = (psi[::2], psi[1::2])
    left, right = ({unit: float(v) for unit, v in zip(UNITS, side) if v > 0} for side in sides)
    return Actions(left, right)


def _array(name: str, value: object, shape: tuple[int, ...]) -> np.ndarray:
    where = f"codes.{name}"
    try:
        array = np.array(value, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"not numbers ({error})", where=where, fix=_FIX) from error
    if array.shape != shape:
        raise DataError(f"shape {[*array.shape]} in place of {[*shape]}", where=where, fix=_FIX)
    if not np.isfinite(array).all():
        raise DataError("holds a number that is not finite", where=where, fix=_FIX)
    array.flags.writeable = False
    return array


def _angles(name: str, value: Sequence[float], count: int) -> tuple[float, ...]:
    where = f"codes.{name}"
    try:
        angles = tuple(float(angle) for angle in value)
    except (TypeError, ValueError) as error:
        raise DataError(f"not angles ({error})", where=where, fix=_FIX) from error
    if len(angles) != count or not np.isfinite(angles).all():
        raise DataError(f"{list(angles)} in place of {count} finite angles", where=where, fix=_FIX)
    return angles


def _check_camera(camera: Camera) -> None:
    numbers = (camera.distance, camera.scale, *camera.shift)
    if not np.isfinite(numbers).all() or camera.scale <= 0:
        raise DataError(f"no camera has {numbers}", where="codes.camera", fix=_FIX)
    if camera.distance < _NEAREST:
        what = f"{camera.distance:g} cm from the head, which it would touch below {_NEAREST:g} cm"
        raise DataError(what, where="codes.camera.distance", fix=_FIX)
