"""The steering picture: the head alone on black in nine-band light (rigface spec, 2: rendering)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mien.errors import MienError
from mien.faces.fragments import Fragments, see
from mien.faces.light import irradiance
from mien.faces.rig import Surface
from mien.faces.scene import Scene, Sensor
from mien.faces.sensor import expose
from mien.systems.rigface.codes import Codes
from mien.systems.rigface.framing import settle
from mien.systems.rigface.paint import eyes, nobody

_SAMPLES = 2


@dataclass(frozen=True)
class RigRendering:
    """A drawn head; pixels as in `mien.faces.render.Rendering`.

    Attributes:
        image: uint8 [size, size, 3], sRGB through the tone curve of the face world's pictures, black around.
        radiance: float32 [size, size, 3], linear RGB, times coverage: what `image` shows before the curve.
        albedo: float32 [size, size, 3], linear RGB in [0, 1], mean of what is covered; 0 without a head.
        normals: float32 [size, size, 3], unit, camera frame (x right, y up, z towards the camera); 0 without
            a head.
        alpha: float32 [size, size], coverage: 0, 0.25, 0.5, 0.75 or 1.
        landmarks: float32 [68, 2], iBUG points (x, y) in pixels.
    """

    image: np.ndarray
    radiance: np.ndarray
    albedo: np.ndarray
    normals: np.ndarray
    alpha: np.ndarray
    landmarks: np.ndarray


def draw(
    codes: Codes, surface: Surface, size: int, paint: Callable[[np.ndarray, Surface, Fragments], np.ndarray]
) -> RigRendering:
    """Draw `surface` as `codes` demand: I = A sum_k l_k H_k(N) in each of 2 x 2 samples of a pixel.

    Args:
        codes: pose, light, camera, gaze, base colour.
        surface: the head, head frame.
        size: side of the picture, pixels.
        paint: (base colour, head, samples) -> albedo float32 [n, 3]; eyes are painted over it.

    Raises:
        MienError: for a size below 1.
    """
    if size < 1:
        raise MienError(f"a picture of {size} pixels", where="size", fix="give 1 or more")
    scene = Scene(
        nobody(), pose=codes.pose, gaze=codes.gaze, light=codes.light, camera=settle(codes, surface.resting)
    )
    seen = see(scene, surface, size * _SAMPLES)
    albedo = paint(codes.albedo, surface, seen)
    normal = eyes(scene, surface, seen, albedo)
    radiance = _average(seen.scatter(albedo * irradiance(codes.light, normal)))
    alpha = _average(seen.scatter(np.ones((len(seen.pixel), 1), np.float32)))
    total = _average(seen.scatter(normal))
    return RigRendering(
        image=expose(radiance, Sensor()),
        radiance=radiance,
        albedo=_average(seen.scatter(albedo)) / np.where(alpha > 0, alpha, 1),
        normals=total / np.maximum(np.linalg.norm(total, axis=2, keepdims=True), 1e-9),
        alpha=alpha[..., 0],
        landmarks=seen.place(surface.landmarks)[0] / _SAMPLES,
    )


def _average(samples: np.ndarray) -> np.ndarray:
    """Mean of the samples of each pixel: [s * k, s * k, c] -> float32 [s, s, c]."""
    k, size = _SAMPLES, len(samples) // _SAMPLES
    return samples.reshape(size, k, size, k, -1).mean(axis=(1, 3), dtype=np.float32)
