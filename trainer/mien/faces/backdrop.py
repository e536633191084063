"""What is behind the head, in linear RGB."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from mien.faces.fields import noise, step
from mien.faces.scene import BACKGROUNDS, Background


def backdrop(background: Background, side: int) -> np.ndarray:
    """Draw a background of `side` x `side` samples, float32 [side, side, 3].

    Raises:
        ValueError: for a kind that is not in `BACKGROUNDS`.
    """
    first, second = (np.asarray(colour, np.float32) for colour in background.colours)
    rng = np.random.default_rng([background.seed, 0xBAC])
    if background.kind == "plain":
        return _vignette(np.broadcast_to(first, (side, side, 3)))
    if background.kind == "gradient":
        return _mix(first, second, _ramp(side, rng))
    if background.kind == "blur":
        return _blurred(first, second, side, rng)
    if background.kind == "room":
        return _room(first, second, side, rng)
    raise ValueError(f"background {background.kind!r} is none of {BACKGROUNDS}")


def _mix(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return (first + (second - first) * weight[..., None]).astype(np.float32)


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    at = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    return at[None, :], at[:, None]


def _vignette(picture: np.ndarray) -> np.ndarray:
    right, down = _grid(side=len(picture))
    return (picture * (1.04 - 0.25 * (right**2 + down**2))[..., None]).astype(np.float32)


def _ramp(side: int, rng: np.random.Generator) -> np.ndarray:
    right, down = _grid(side)
    angle = rng.uniform(0, 2 * np.pi)
    return np.clip(0.5 + np.cos(angle) * right + np.sin(angle) * down, 0, 1)


def _blurred(first: np.ndarray, second: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Out-of-focus surroundings: soft patches of both colours and a few pale discs of light."""
    picture = _mix(first, second, 1 / (1 + np.exp(-2.5 * noise((side, side), (4, 4), rng))))
    picture *= 1 + 0.25 * noise((side, side), (7, 7), rng)[..., None]
    right, down = _grid(side)
    for _ in range(int(rng.integers(0, 6))):
        x, y, radius = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.3), rng.uniform(0.02, 0.07)
        disc = step(np.hypot(right - x, down - y), radius + 0.012, radius - 0.012)
        picture += disc[..., None] * (rng.uniform(0.1, 0.5) * rng.uniform(0.7, 1.0, 3)).astype(np.float32)
    return np.clip(picture, 0.005, 1.2)


def _room(first: np.ndarray, second: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """A wall with a corner, a bright window or a dark door, a shelf; slightly out of focus."""
    right, down = _grid(side)
    corner = rng.uniform(-0.5, 0.5)
    picture = np.where((right > corner)[..., None] & (down < 9)[..., None], first * 0.7, first)
    picture = picture * (1.1 - 0.5 * np.abs(right - corner) - 0.2 * down)[..., None]
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.3)
        width, height = rng.uniform(0.1, 0.35), rng.uniform(0.12, 0.5)
        inside = (np.abs(right - x) < width / 2) & (np.abs(down - y) < height / 2)
        frame = inside & ~((np.abs(right - x) < width / 2 - 0.012) & (np.abs(down - y) < height / 2 - 0.012))
        tone = second * rng.uniform(0.4, 1.6)
        picture = np.where(inside[..., None], tone, picture)
        picture = np.where(frame[..., None], tone * 0.4, picture)
    blur = rng.uniform(0.004, 0.02) * side
    return gaussian_filter(np.clip(picture, 0.004, 1.5).astype(np.float32), (blur, blur, 0), truncate=2.5)
