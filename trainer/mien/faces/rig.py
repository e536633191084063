"""What every head offers the renderer, and how to open one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from mien.faces.actions import Actions
from mien.faces.person import Person

PARTS = ("skin", "eye_left", "eye_right", "teeth_upper", "teeth_lower", "tongue", "cavity", "ear", "hair")
"""What a triangle is made of."""


@dataclass(frozen=True)
class Surface:
    """A posed mesh in the head frame (x to the person's left, y up, z out of the face; cm).

    Attributes:
        vertices: float32 [v, 3].
        triangles: int32 [t, 3], counter-clockwise from outside.
        part: uint8 [t], index into `PARTS`.
        chart: float32 [v, 2], place on the skin of the average built-in head, about cm (see `head_surface`);
            of teeth and tongue their own place (see `head_inside.Piece`).
        rim: float32 [v], 0 on the outer skin to 1 on the inside of lids and lips.
        landmarks: float32 [68, 3].
        resting: float32 [68, 3], the landmarks of the same head at rest.
        eyes: float32 [2, 3], centres of the left and right eyeball.
        eye_radius: cm.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    part: np.ndarray
    chart: np.ndarray
    rim: np.ndarray
    landmarks: np.ndarray
    resting: np.ndarray
    eyes: np.ndarray
    eye_radius: float


class Rig(Protocol):
    """A head that can be anyone and do every action unit."""

    name: str

    def surface(self, person: Person, actions: Actions, gaze: tuple[float, float]) -> Surface:
        """The head of `person` while it shows `actions` (`Person.act` applied), eyes turned by `gaze`."""
        ...


@lru_cache(maxsize=4)
def open_rig(source: str | Path = "builtin") -> Rig:
    """Open a rig.

    Args:
        source: "builtin", the FaceXModel folder of ICT-FaceKit, or an npz packed from it.

    Raises:
        DataError: the path is absent or does not hold the model.
    """
    if source == "builtin":
        from mien.faces.head import BuiltinRig

        return BuiltinRig()
    from mien.faces.ict import open_ict

    return open_ict(Path(source))
