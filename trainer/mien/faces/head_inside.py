"""What the skin of the built-in head opens onto: eyeballs, teeth, tongue; and the ears."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.faces.head_surface import EYE_RADIUS, MOUTH_LINE
from mien.faces.rig import PARTS

TEETH_FRONT = 10.4
"""Depth z of the upper front teeth on the average head, cm."""


@dataclass(frozen=True)
class Piece:
    """A rigid or jaw-borne part of the average head.

    Attributes:
        vertices: float32 [n, 3], cm.
        triangles: int32 [t, 3], counter-clockwise from outside.
        part: index into `mien.faces.rig.PARTS`.
        chart: float32 [n, 2]; of teeth (arc length from the midline in cm, height in cm: 0 biting edge,
            about 1 gum line); of the tongue (x, depth); of an eyeball (x, y) of its own direction.
        jaw: float32 [n], how far each vertex follows the jaw, in [0, 1].
    """

    vertices: np.ndarray
    triangles: np.ndarray
    part: int
    chart: np.ndarray
    jaw: np.ndarray


def sheet(rows: np.ndarray) -> np.ndarray:
    """Triangles int32 of vertex indices [r, c]; from outside rows run downwards, columns rightwards."""
    a, b, c, d = rows[:-1, :-1], rows[:-1, 1:], rows[1:, :-1], rows[1:, 1:]
    return np.stack([np.stack([a, c, d], -1), np.stack([a, d, b], -1)], -2).reshape(-1, 3).astype(np.int32)


def pieces() -> list[Piece]:
    """Eyeballs (left, right), teeth and tongue of the average head at rest."""
    return [eyeball(1), eyeball(-1), _teeth(upper=True), _teeth(upper=False), _tongue()]


def eyeball(side: int) -> Piece:
    """The front of one eyeball, `side` 1 the person's left; vertices about its centre, facing +z."""
    ring = np.linspace(0, np.deg2rad(100), 15)
    turn = np.linspace(0, 2 * np.pi, 25)
    r, a = np.meshgrid(ring, turn, indexing="ij")
    p = np.stack([np.sin(r) * np.cos(a), np.sin(r) * np.sin(a), np.cos(r)], -1).reshape(-1, 3)
    index = np.arange(len(p)).reshape(r.shape)
    return _piece(
        p * EYE_RADIUS, sheet(index), "eye_left" if side > 0 else "eye_right", p[:, :2], np.zeros(len(p))
    )


def _arch(width: float, front: float, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, z and arc length from the midline of `count` points on a dental arch."""
    t = np.linspace(-1.35, 1.35, count)
    x, z = width * np.sin(t), front - 1.25 * width * (1 - np.cos(t))
    arc = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
    return x, z, arc - arc[-1] / 2


def _teeth(upper: bool) -> Piece:
    x, z, arc = _arch(2.55 if upper else 2.35, TEETH_FRONT if upper else TEETH_FRONT - 0.22, 65)
    heights = np.array([0.0, 0.35, 0.75, 1.0, 1.5, 2.0] if upper else [0.0, 0.3, 0.6, 0.9, 1.1, 1.3])
    lean = np.array(
        [-0.05, 0.02, 0.0, -0.08, -0.05, -0.3] if upper else [-0.05, 0.02, -0.03, -0.15, -0.35, -0.7]
    )
    edge = MOUTH_LINE - 0.22 if upper else MOUTH_LINE - 0.12
    h = np.repeat(heights[:, None], len(x), 1)
    y = edge + h if upper else edge - h
    p = np.stack([np.repeat(x[None], len(h), 0), y, z[None] + lean[:, None]], -1)
    order = p[::-1] if upper else p
    chart = np.stack([np.repeat(arc[None], len(h), 0), h], -1)
    chart = (chart[::-1] if upper else chart).reshape(-1, 2)
    index = np.arange(h.size).reshape(h.shape)
    name = "teeth_upper" if upper else "teeth_lower"
    return _piece(order.reshape(-1, 3), sheet(index), name, chart, np.full(h.size, 0.0 if upper else 1.0))


def _tongue() -> Piece:
    across, along = np.meshgrid(np.linspace(-1, 1, 15), np.linspace(0, 1, 14))
    width = (
        1.75 * np.sqrt(np.clip(1 - (along - 0.15) ** 2 * 0.6, 0.05, 1)) * np.sqrt(np.clip(along * 6, 0, 1))
    )
    x = across * width
    z = TEETH_FRONT - 0.7 - 4.0 * (1 - np.sqrt(1 - 0.9 * (1 - along) ** 2 * 0)) - 4.0 * along * 0.9
    crown = np.sqrt(np.clip(1 - across**2, 0, 1))
    y = (
        MOUTH_LINE
        - 1.25
        + 0.55 * crown * np.sqrt(np.clip(along * 4, 0, 1))
        + 0.35 * along
        - 0.1 * np.exp(-((across / 0.12) ** 2))
    )
    z = z - 0.9 * across**2 * (1 - along)
    p = np.stack([x, y, z], -1)[::-1]
    index = np.arange(x.size).reshape(x.shape)
    chart = np.stack([x, along], -1)[::-1].reshape(-1, 2)
    return _piece(p.reshape(-1, 3), sheet(index), "tongue", chart, np.full(x.size, 0.9))


def _piece(p: np.ndarray, triangles: np.ndarray, name: str, chart: np.ndarray, jaw: np.ndarray) -> Piece:
    keep = (triangles[:, 0] != triangles[:, 1]) & (triangles[:, 1] != triangles[:, 2])
    return Piece(
        p.astype(np.float32),
        triangles[keep],
        PARTS.index(name),
        chart.astype(np.float32),
        jaw.astype(np.float32),
    )


def ear(side: int) -> Piece:
    """One ear about its root (the middle of its front edge), `side` 1 the person's left."""
    r, a = np.meshgrid(np.linspace(0, 1.6, 15), np.linspace(0, 2 * np.pi, 33), indexing="ij")
    inner = np.minimum(r, 1.0)
    back = np.clip(r - 1.0, 0, None) / 0.6
    # Outline in the plane of the ear: b backwards, h upwards; wide at the top, a lobe at the bottom.
    wide = np.where(np.sin(a) > 0, 1.75, 1.75 - 0.3 * np.sin(a) ** 2)
    b = 1.2 + wide * np.cos(a) * inner * (1 - 0.45 * back)
    h = np.where(np.sin(a) > 0, 3.0, 2.7) * np.sin(a) * inner * (1 - 0.35 * back) - 0.25 * np.cos(a) * inner
    lift = (
        0.55
        * np.exp(-(((inner - 0.88) / 0.13) ** 2))
        * np.clip(0.75 + 0.6 * np.sin(a) - 0.3 * np.cos(a), 0.2, 1)
    )
    lift += 0.35 * np.exp(-(((inner - 0.6) / 0.12) ** 2)) * np.clip(-np.cos(a) * 0 + 0.5 + np.sin(a), 0.2, 1)
    lift += 0.45 * np.exp(-((b - 0.1) ** 2 / 0.2 + (h + 0.5) ** 2 / 0.3))
    lift -= 0.45 * np.exp(-(((b - 0.9) / 0.7) ** 2) - ((h + 0.4) / 1.0) ** 2)
    out = (0.25 + 0.42 * b) + lift - 1.3 * back
    x = side * out
    z = -b * 0.92 + 0.25 * lift
    p = np.stack([x, h, z], -1).reshape(-1, 3)
    index = np.arange(r.size).reshape(r.shape)
    triangles = sheet(index)
    if side < 0:
        triangles = triangles[:, ::-1]
    # Ears borrow the plain skin of the outer cheek, which neither hair nor folds reach.
    chart = np.stack([side * (6.3 + 0.15 * b), 0.6 + 0.2 * h], -1).reshape(-1, 2)
    return _piece(p, triangles, "ear", chart, np.zeros(r.size))
