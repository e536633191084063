"""Light read off a picture of a head whose shape is known: least squares over nine bands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.faces.light import irradiance, shading
from mien.faces.sensor import linear_of
from mien.systems.rigface.rendering import RigRendering

Floats = NDArray[np.floating]
_RIDGE = 1e-3
_DARK = 0.02  # base colours below it tell little of the light


def directions() -> Floats:
    """Unit normals [32, 3] that faces show: within sixty degrees of the camera, evenly spread."""
    count, golden = 32, np.pi * (3 - 5**0.5)
    z = 1 - (np.arange(count) + 0.5) / count / 2
    turn = golden * np.arange(count)
    flat = np.sqrt(1 - z**2)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], 1).astype(np.float32)


def seen_light(picture: NDArray[np.uint8], drawn: RigRendering, skin: NDArray[np.bool_]) -> Floats:
    """Irradiance over pi that a picture shows at `directions`, float32 [32, 3]; zeros where it shows next to
    no skin.

    Args:
        picture: uint8 [S, S, 3] sRGB.
        drawn: the head in the picture's pose; its normals and base colours are taken as true.
        skin: bool [S, S], pixels to look at; only those that the head covers count.
    """
    use = skin & (drawn.alpha == 1) & (drawn.albedo.min(2) > _DARK)
    count, bands = int(use.sum()), shading(drawn.normals[use])
    if count < bands.shape[1]:
        return np.zeros((len(directions()), 3), np.float32)
    value = linear_of(picture[use]) / drawn.albedo[use]
    left = bands.T @ bands + _RIDGE * count * np.eye(bands.shape[1], dtype=np.float32)
    found: Floats = shading(directions()) @ np.linalg.solve(left, bands.T @ value)
    return found


def true_light(light: Floats) -> Floats:
    """The same of light [9, 3] as it is, float32 [32, 3]."""
    return irradiance(light, directions())
