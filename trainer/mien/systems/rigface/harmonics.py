"""Nine-band light: the formula as published, the same light in both orders of bands, and its rotation."""

from __future__ import annotations

import numpy as np

# g of the rigface spec, section 2 (DECA's constants).
_G = np.array(
    [1 / np.sqrt(4 * np.pi)]
    + [2 * np.pi / 3 * np.sqrt(3 / (4 * np.pi))] * 3
    + [3 * np.pi / 4 * np.sqrt(5 / (12 * np.pi))] * 3
    + [3 * np.pi / 8 * np.sqrt(5 / (12 * np.pi)), np.pi / 8 * np.sqrt(5 / (4 * np.pi))]
)
# Published band k is band _ORDER[k] of mien.faces.light. Its constant band lacks the pi that the others have:
# the published light is that of irradiance in the first band and of irradiance over pi in the rest.
_ORDER = np.array([0, 3, 1, 2, 4, 7, 5, 8, 6])
_SCALE = np.array([1.0] + [np.pi] * 8)

_LINEAR = (3, 1, 2)
_XY, _ZZ, _XX_YY = 1.092548, 0.315392, 0.546274


def published_bands(normals: np.ndarray) -> np.ndarray:
    """H_k(n) = g_k [1, x, y, z, xy, xz, yz, x^2 - y^2, 3 z^2 - 1] (rigface spec, 2: rendering).

    Args:
        normals: float [..., 3], unit.

    Returns:
        [..., 9] of the same kind of float.
    """
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    bands = [np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1]
    return np.stack(bands, axis=-1) * _G.astype(normals.dtype)


def to_published(light: np.ndarray) -> np.ndarray:
    """Light [9, 3] of `mien.faces.light` -> the published l_k [9, 3] that gives the same picture."""
    return (light[_ORDER] / _SCALE[:, None]).astype(light.dtype)


def from_published(light: np.ndarray) -> np.ndarray:
    """The inverse of `to_published`: coefficients as a DECA-like fitter gives them, [9, 3]."""
    out = np.empty_like(light)
    out[_ORDER] = light * _SCALE[:, None].astype(light.dtype)
    return out


def rotate_light(light: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Turn the light about the head: what came from d comes from `turn @ d`. Exact.

    The linear bands are a vector and the quadratic ones a symmetric matrix without trace; both turn as such.

    Args:
        light: float [9, 3], as in `mien.faces.light`.
        turn: float [3, 3], a rotation in the camera frame.

    Returns:
        float32 [9, 3].
    """
    light, turn = light.astype(np.float64), turn.astype(np.float64)
    out = light.copy()
    out[_LINEAR, :] = turn @ light[_LINEAR, :]
    q = np.einsum("ij,jkc,lk->ilc", turn, _quadric(light), turn)
    out[4:] = [
        2 * q[0, 1] / _XY, 2 * q[1, 2] / _XY, q[2, 2] / (2 * _ZZ), 2 * q[0, 2] / _XY,
        (q[0, 0] - q[1, 1]) / (2 * _XX_YY),
    ]  # fmt: skip
    return out.astype(np.float32)


def _quadric(light: np.ndarray) -> np.ndarray:
    """Q [3, 3, channels] with d^T Q d = the quadratic bands of the radiance from d."""
    xy, yz, zz, xz, xx_yy = light[4:] * np.array([[_XY / 2], [_XY / 2], [_ZZ], [_XY / 2], [_XX_YY]])
    return np.array([[xx_yy - zz, xy, xz], [xy, -xx_yy - zz, yz], [xz, yz, 2 * zz]])
