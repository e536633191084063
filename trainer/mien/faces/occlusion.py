"""Cheap occlusion from the height picture: hollows, the shadow of the main light, the shadow of a lid."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

from mien.faces.fragments import FAR

_RADII = (0.45, 1.3, 3.0)
_AHEAD = (0.4, 0.8, 1.2, 1.7, 2.2, 2.8, 3.5)


def ambient(height: np.ndarray, density: float) -> np.ndarray:
    """How open each sample is to the light around, float32 [side, side] in [0.3, 1]: low in hollows.

    Args:
        height: float32 [side, side] cm, as in `Fragments`.
        density: samples per cm.
    """
    hollow = np.zeros_like(height)
    for radius in _RADII:
        near = np.zeros_like(height)
        step = max(1, round(radius * density))
        diagonal = max(1, round(radius * density * 0.7))
        for down, right in ((0, step), (step, 0), (diagonal, diagonal), (diagonal, -diagonal)):
            # The mean of two opposite neighbours is above the sample only in hollows, however it slopes.
            mean = (shifted(height, down, right) + shifted(height, -down, -right)) / 2
            near += np.clip((mean - height) / radius, 0, 0.5)
        # Blurred, because so few directions leave ghosts of the edges.
        hollow += uniform_filter(near, max(1, round(0.5 * radius * density)))
    return np.maximum(1 - hollow * np.float32(0.24), np.float32(0.35))


def cast_shadow(height: np.ndarray, density: float, towards: np.ndarray) -> np.ndarray:
    """How much of the main light something nearer hides, float32 [side, side] in [0, 1].

    Args:
        height: float32 [side, side] cm.
        density: samples per cm.
        towards: unit direction [3] towards the light, camera frame.
    """
    shadow = np.zeros_like(height)
    for length in _AHEAD:
        right, down = towards[0] * length * density, -towards[1] * length * density
        ray = height + np.float32(towards[2] * length)
        above = shifted(height, -round(down), -round(right)) - ray
        hidden = np.clip(above / np.float32(0.3 + 0.25 * length), 0, 1)
        # Something far in front of the face (a lock of hair) hides little of a wide light.
        np.maximum(shadow, hidden * np.clip(2 - above / 4, 0, 1), out=shadow)
    return uniform_filter(shadow, max(1, round(0.8 * density)))


def lid_shadow(eye: np.ndarray, density: float) -> np.ndarray:
    """Shadow of the upper lid on the eyeball, float32 [side, side] in [0, 1].

    Args:
        eye: bool [side, side], samples that see an eyeball.
        density: samples per cm.
    """
    reach = max(2, round(0.42 * density))
    covered = (~eye).astype(np.float32)
    total = sum(shifted(covered, down, 0, 1.0) for down in range(1, reach + 1))
    return np.asarray(total / np.float32(reach))


def shifted(picture: np.ndarray, down: int, right: int, fill: float = float(FAR)) -> np.ndarray:
    """The picture [rows, columns] moved by whole samples; `fill` moves in."""
    out = np.empty_like(picture)
    rows, columns = picture.shape
    down, right = int(np.clip(down, -rows, rows)), int(np.clip(right, -columns, columns))
    to_r, from_r = slice(max(down, 0), rows + min(down, 0)), slice(max(-down, 0), rows + min(-down, 0))
    to_c, from_c = (
        slice(max(right, 0), columns + min(right, 0)),
        slice(max(-right, 0), columns + min(-right, 0)),
    )
    out.fill(fill)
    out[to_r, to_c] = picture[from_r, from_c]
    return out
