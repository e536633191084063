"""Small building blocks of scalar fields over the chart of a face."""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def bump(
    u: np.ndarray, v: np.ndarray, centre: tuple[float, float], size: tuple[float, float], power: float = 2.0
) -> np.ndarray:
    """exp(-r^power / 2) with r the distance to `centre` in units of `size`, so 1 at the centre."""
    r2 = ((u - centre[0]) / size[0]) ** 2 + ((v - centre[1]) / size[1]) ** 2
    return np.exp(-0.5 * r2 ** (power / 2))


def pair(
    u: np.ndarray, v: np.ndarray, centre: tuple[float, float], size: tuple[float, float], power: float = 2.0
) -> np.ndarray:
    """A bump on the person's left and its mirror image on the right."""
    return bump(np.abs(u), v, centre, size, power)


def step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth rise from 0 at `low` to 1 at `high` (falls where low > high)."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def stroke(u: np.ndarray, v: np.ndarray, points: list[tuple[float, float]], width: float) -> np.ndarray:
    """A line through `points`: 1 on the polyline, a Gaussian of the distance beside, thin at both ends."""
    nearest = np.full(np.shape(u), np.inf)
    along = np.zeros(np.shape(u))
    segments = len(points) - 1
    for i, ((u0, v0), (u1, v1)) in enumerate(pairwise(points)):
        du, dv = u1 - u0, v1 - v0
        t = np.clip(((u - u0) * du + (v - v0) * dv) / (du * du + dv * dv), 0, 1)
        distance = np.hypot(u - u0 - t * du, v - v0 - t * dv)
        closer = distance < nearest
        nearest = np.where(closer, distance, nearest)
        along = np.where(closer, (i + t) / segments, along)
    taper = 0.45 + 0.55 * np.sqrt(np.clip(4 * along * (1 - along), 0, 1))
    return np.exp(-0.5 * (nearest / (width * taper)) ** 2)


def sides(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the person's left and right half of the face; they sum to 1, half each at the midline."""
    left = step(u, -0.7, 0.7)
    return left, 1 - left


def noise(shape: tuple[int, int], cells: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Smooth noise, about N(0, 1), float32 `shape`, with `cells` random knots along each axis."""
    knots = rng.standard_normal((cells[0] + 3, cells[1] + 3)).astype(np.float32)
    rows, columns = (_weights(size, count) for size, count in zip(shape, cells))
    return (rows @ knots @ columns.T) * np.float32(1.6)


def _weights(size: int, cells: int) -> np.ndarray:
    """Cubic B-spline weights, float32 [size, cells + 3]."""
    at = np.linspace(0, cells, size, endpoint=False)
    cell = at.astype(int)
    t = at - cell
    parts = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    table = np.zeros((size, cells + 3), np.float32)
    for k, part in enumerate(parts):
        table[np.arange(size), cell + k] = part / 6
    return table
