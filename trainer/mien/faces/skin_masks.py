"""Masks over the chart of the built-in head, painted once, and how a texture over the chart is read."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mien.faces.fields import bump, noise, pair, step, stroke
from mien.faces.head_hair import hair_line
from mien.faces.head_surface import EYE_INNER, EYE_LINE, EYE_OUTER, MOUTH_CORNER, MOUTH_LINE

SIZE = 512
"""Side of a texture in texels."""
U_RANGE, V_RANGE = (-10.5, 10.5), (-9.5, 11.5)
"""Part of the chart a texture covers, cm; its edge goes on outside."""


def sample_texture(texture: np.ndarray, chart: np.ndarray) -> np.ndarray:
    """Bilinear lookup of `texture` float32 [s, s, c] at `chart` [n, 2] -> [n, c]."""
    size = texture.shape[0]
    x = (chart[:, 0] - U_RANGE[0]) * np.float32(size / (U_RANGE[1] - U_RANGE[0])) - np.float32(0.5)
    y = (V_RANGE[1] - chart[:, 1]) * np.float32(size / (V_RANGE[1] - V_RANGE[0])) - np.float32(0.5)
    x, y = np.clip(x, 0, size - 1.001), np.clip(y, 0, size - 1.001)
    column, row = x.astype(np.int32), y.astype(np.int32)
    fx, fy = (x - column)[:, None].astype(np.float32), (y - row)[:, None].astype(np.float32)
    flat = texture.reshape(size * size, -1)
    at = row * size + column
    top = flat[at] * (1 - fx) + flat[at + 1] * fx
    low = flat[at + size] * (1 - fx) + flat[at + size + 1] * fx
    return top * (1 - fy) + low * fy


def texture_chart(size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """(u, v) of the texel centres, float32 [size, size] each."""
    at = (np.arange(size, dtype=np.float32) + 0.5) / size
    u = U_RANGE[0] + at * (U_RANGE[1] - U_RANGE[0])
    v = V_RANGE[1] - at * (V_RANGE[1] - V_RANGE[0])
    grid = np.meshgrid(u, v)
    return grid[0], grid[1]


@lru_cache(maxsize=1)
def masks() -> dict[str, np.ndarray]:
    """Person-independent masks, float32 [SIZE, SIZE] in [0, 1] each."""
    u, v = texture_chart()
    a = np.abs(u)
    painted = {
        "lips": _lips(u, v),
        "lip_line": step(a, MOUTH_CORNER + 0.35, MOUTH_CORNER - 0.1)
        * np.exp(-0.5 * ((v - MOUTH_LINE) / 0.06) ** 2),
        "flush": 0.35 * bump(u, v, (0, -6.6), (1.4, 0.9))
        + pair(u, v, (4.2, 0.3), (1.7, 1.3)) + 0.8 * bump(u, v, (0, 0.2), (1.2, 0.9)),
        "under_eye": pair(u, v, (2.9, 2.35), (1.2, 0.42)),
        "socket": pair(u, v, (2.2, 4.6), (0.9, 0.55)) + 0.7 * pair(u, v, (1.55, 3.6), (0.4, 0.7)),
        "nostril": pair(u, v, (0.62, -0.98), (0.3, 0.15), 3.0),
        "lid_crease": stroke(a, v, [(1.9, 3.95), (2.5, 4.35), (3.3, 4.5), (4.1, 4.35), (4.9, 3.8)], 0.07),
        "inner": step(a, 10.4, 9.0) * step(v, -9.4, -8.2),
        "lash": _lashes(u, v),
        "beard": _beard(u, v),
    }  # fmt: skip
    return {name: np.clip(mask, 0, 1).astype(np.float32) for name, mask in painted.items()}


def _lips(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    a = np.abs(u)
    t = np.clip(a / (MOUTH_CORNER + 0.05), 0, 1)
    bow = (
        0.92 * (1 - t**2.2) ** 0.75
        + 0.08 * np.exp(-0.5 * ((a - 0.6) / 0.35) ** 2)
        - 0.12 * np.exp(-0.5 * (a / 0.25) ** 2)
    )
    under = 1.08 * (1 - t**2.4) ** 0.7
    line = v - MOUTH_LINE
    top, low = step(line, bow + 0.07, bow - 0.07), step(line, -under - 0.08, -under + 0.08)
    return np.where(line > 0, top, low) * (a < MOUTH_CORNER + 0.05)


def _lashes(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A dark line along the upper lid margin, thicker outside, and a faint one along the lower."""
    a = np.abs(u)
    t = np.clip((a - EYE_INNER) / (EYE_OUTER - EYE_INNER), 0, 1)
    inside = step(a, EYE_INNER - 0.05, EYE_INNER + 0.3) * step(a, EYE_OUTER + 0.35, EYE_OUTER)
    height = v - EYE_LINE
    upper = step(height, 0.12 + 0.13 * t, 0.02 + 0.1 * t) * (height > -0.03)
    lower = 0.45 * step(-height, 0.1, 0.02) * (height <= -0.03) * (0.4 + 0.6 * t)
    return (upper + lower) * inside


def _beard(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    a = np.abs(u)
    top = np.interp(a, [0, 2.2, 3.4, 5.5, 7.5, 8.6, 9.2, 10.5], [-1.4, -1.5, -3.3, -3.4, -1.8, 1.5, 2.2, 2.0])
    region = step(v, top + 0.8, top - 0.8) * step(v, -9.3, -8.0) * step(a, 9.6, 9.0)
    bald = pair(u, v, (1.5, -5.0), (0.55, 0.4)) * 0.6 + bump(u, v, (0, -1.7), (0.25, 0.4)) * 0.5
    return region * (1 - np.clip(_lips(u, v) * 1.2, 0, 1)) * (1 - bald)


def brow_mask(size: float, rng: np.random.Generator) -> np.ndarray:
    """Hair of both brows, float32 [SIZE, SIZE] in [0, 1]; thickness `size`, the rest drawn by `rng`."""
    arch, thin, tail, start = (
        rng.uniform(-0.12, 0.16),
        rng.uniform(0.8, 1.1),
        rng.uniform(-0.1, 0.15),
        rng.uniform(-0.2, 0.1),
    )
    u, v = texture_chart()
    a = np.abs(u)
    line = np.interp(
        a, [1.0, 1.8, 2.8, 3.9, 4.8, 5.7], [5.62, 5.82, 6.0, 6.1 + arch, 5.95 + arch, 5.4 + tail]
    )
    half = (
        np.interp(a, [0.9 + start, 1.2 + start, 2.0, 3.2, 4.4, 5.8], [0.05, 0.27, 0.39, 0.37, 0.25, 0.03])
        * size
        * thin
    )
    distance = np.abs(v - line) / np.maximum(half, 0.02)
    inside = step(a, 0.9 + start, 1.35 + start) * step(a, 5.8, 5.4)
    hairs = noise((SIZE, SIZE), (240, 300), rng)
    return np.clip(step(distance, 1.4, 0.3) * inside * (0.9 + 0.12 * hairs), 0, 0.97).astype(np.float32)


def spots(rng: np.random.Generator) -> np.ndarray:
    """Freckles over cheeks and nose, float32 [SIZE, SIZE] in [0, 1]."""
    u, v = texture_chart()
    where = (
        pair(u, v, (3.2, 1.0), (2.6, 1.8))
        + bump(u, v, (0, 1.2), (1.4, 1.5))
        + 0.25 * bump(u, v, (0, 8), (5, 2))
    )
    return step(noise((SIZE, SIZE), (170, 170), rng), 0.8, 1.5) * np.clip(where, 0, 1)


@lru_cache(maxsize=16)
def hair_mask(style: str) -> np.ndarray:
    """Scalp under the hair of `style`, float32 [SIZE, SIZE] in [0, 1]."""
    u, v = texture_chart()
    return step(hair_line(style, u, v), -0.25, 0.45).astype(np.float32)
