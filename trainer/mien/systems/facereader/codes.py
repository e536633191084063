"""The codes of a 3D face as numbers that a network can learn, and back; space "world" only.

Pose is not among them: the reader has a head for it. Each number is its distance from what is usual in the
face world, in standard deviations of the sets of `mien data synth --kind rig_pairs`, so that all weigh alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mien.errors import DataError
from mien.faces.camera import Camera
from mien.faces.person import SHAPE_SIZE
from mien.systems.rigface.codes import SPACES, Codes, Pose

SPACE = "world"
_BANDS = (2.2, 0.42, 0.93, 0.0, 0.0, 0.66, 0.53, 0.0, 0.13)
_SPREAD = (0.21, 0.28, 0.19, 0.33, 0.45, 0.42, 0.43, 0.47, 0.31)


class Field(NamedTuple):
    """A part of the numbers."""

    usual: np.ndarray
    """float32 [n], mean in the face world."""
    spread: np.ndarray
    """float32 [n], standard deviation, above 0."""


def _field(count: int, usual: object, spread: object) -> Field:
    whole = [np.broadcast_to(np.asarray(value, np.float32).ravel(), (count,)) for value in (usual, spread)]
    return Field(whole[0].copy(), whole[1].copy())


FIELDS = {
    "shape": _field(SHAPE_SIZE, 0, 1),
    "albedo": _field(3, (0.35, 0.195, 0.135), (0.14, 0.095, 0.075)),
    "expression": _field(SPACES[SPACE][1], 0.06, 0.18),
    "light": _field(27, np.repeat(_BANDS, 3), np.repeat(_SPREAD, 3)),
    "camera": _field(4, (100, 1.01, 0, 0), (12, 0.022, 0.035, 0.035)),  # distance, scale, shift
    "gaze": _field(2, 0, (5.6, 3.4)),
}
"""In the order of the numbers. `camera.shift` spreads more than in a set: training moves pictures."""

PLACES: dict[str, slice] = {}
"""Where each field lies among the numbers."""
WIDTH = 0
"""How many there are."""
for _name, _part in FIELDS.items():
    PLACES[_name] = slice(WIDTH, WIDTH + len(_part.usual))
    WIDTH += len(_part.usual)

_USUAL = np.concatenate([field.usual for field in FIELDS.values()])
SPREAD = np.concatenate([field.spread for field in FIELDS.values()])
"""float32 [`WIDTH`], by what each number is divided."""
_LEAST = Camera(30.0, 0.5)  # below, no face was ever drawn


def numbers_of(codes: Codes, where: object = "", shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """float32 [`WIDTH`] of a face.

    Args:
        codes: of space "world".
        where: sample, for errors.
        shift: by how much the picture was moved since, as fractions of its side, (right, down).

    Raises:
        DataError: for codes of another space.
    """
    if codes.space != SPACE:
        what = f"codes of {codes.space!r}, and a reader learns those of {SPACE!r}"
        raise DataError(what, where=where, fix="train on a set of mien data synth --kind rig_pairs")
    camera = codes.camera
    # A crop that lies further right shows the face further left; its second shift moves the face down.
    lens = (camera.distance, camera.scale, camera.shift[0] - shift[0], camera.shift[1] + shift[1])
    rest = np.array([*lens, *codes.gaze], np.float32)
    whole = np.concatenate([codes.shape, codes.albedo, codes.expression, codes.light.ravel(), rest])
    return (whole - _USUAL) / SPREAD


def codes_from(numbers: np.ndarray, pose: Pose) -> Codes:
    """The face of float32 [`WIDTH`] numbers, cut to what a picture can show, and of a pose in degrees."""
    plain = numbers * SPREAD + _USUAL
    part = {name: plain[place] for name, place in PLACES.items()}
    distance, scale, right, down = (float(number) for number in part["camera"])
    yaw, pitch = (float(angle) for angle in part["gaze"])
    return Codes(
        shape=part["shape"],
        albedo=part["albedo"].clip(0, 1),
        expression=part["expression"].clip(0, 1),
        pose=pose,
        boxed=pose,
        light=part["light"].reshape(9, 3),
        camera=Camera(max(distance, _LEAST.distance), max(scale, _LEAST.scale), (right, down)),
        gaze=(yaw, pitch),
        space=SPACE,
    )
