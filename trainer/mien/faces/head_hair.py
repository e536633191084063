"""Hair of the built-in head: a shell over the scalp that dips under the skin at the hair line, and curtains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.faces.fields import noise, step
from mien.faces.head_inside import Piece, sheet
from mien.faces.head_surface import Grid
from mien.faces.rig import PARTS


@dataclass(frozen=True)
class _Style:
    """How a style is cut.

    Attributes:
        line: chart v of the hair line above the midline of the forehead.
        temple: chart v of the hair line above the outer brow.
        part: how far the line rises on the person's left of a parting, cm.
        volume: thickness on the crown, cm.
        sides: thickness above the ears, cm.
        length: chart v down to which hair hangs at the sides and back; above -2 nothing hangs.
        waves: height of locks, cm.
        cells: number of locks around the head.
    """

    line: float
    temple: float
    part: float
    volume: float
    sides: float
    length: float
    waves: float
    cells: int


STYLES: dict[str, _Style] = {
    "receding": _Style(11.6, 10.2, 0.0, 0.5, 0.35, 0.0, 0.08, 30),
    "short": _Style(9.4, 8.2, 0.0, 1.1, 0.5, 0.0, 0.2, 26),
    "side_part": _Style(9.3, 8.0, 0.6, 1.6, 0.6, 0.0, 0.22, 20),
    "fringe": _Style(7.2, 6.6, 0.0, 1.5, 1.0, -1.5, 0.2, 28),
    "curly": _Style(9.0, 7.6, 0.0, 2.6, 1.9, -1.5, 0.55, 22),
    "bob": _Style(8.9, 7.4, 0.5, 1.5, 1.3, -7.0, 0.16, 24),
    "long": _Style(9.1, 7.8, 0.3, 1.5, 1.2, -17.0, 0.2, 24),
    "tied": _Style(9.6, 8.3, 0.0, 0.7, 0.45, 0.0, 0.08, 40),
}
"""Cut of each hair style; "bald" has none."""


def hair_line(style: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed distance in cm into the hair (> 0 on the scalp under it) at chart points, about."""
    cut = STYLES[style]
    a = np.abs(u)
    line = np.interp(
        a, [0, 3.0, 5.4, 6.6, 7.6, 8.4, 9.2, 10.5, 13, 24], [0, 0, 0, 0, -2.6, -6.2, -5.6, -9.0, -11.0, -11.5]
    )
    top = np.where(a < 5.4, cut.line + (cut.temple - cut.line) * step(a, 1.0, 5.4), cut.temple)
    base = np.where(a < 6.6, top, top + line * 1.0)
    base = np.where(
        a > 8.8, np.minimum(base, np.interp(a, [8.8, 9.2, 11.5, 14, 24], [3.0, 3.6, 3.6, -3.0, -4.5])), base
    )
    base = base + cut.part * step(u, -1.0, 2.4) * step(a, 6.0, 3.0)
    return v - base


def hair_piece(style: str, grid: Grid, skin: np.ndarray) -> Piece | None:
    """The hair of a person whose skin at rest is `skin` [n, 3] over `grid`; None if bald."""
    if style == "bald":
        return None
    cut = STYLES[style]
    u, v = grid.chart.T.astype(float)
    inside = hair_line(style, u, v)
    normal = _normals(skin, grid.triangles)
    locks = _locks(u, v, cut)
    full = cut.sides + (cut.volume - cut.sides) * step(v, 4.0, 11.0)
    thick = (full + locks) * step(inside, -0.1, 1.5) ** 0.7 - 0.12 * step(inside, 0.25, -0.4)
    shell = skin + normal * thick[:, None]
    keep = (inside > -3.0) & (grid.rim == 0)
    triangles = grid.triangles[keep[grid.triangles].all(axis=1)]
    used, remapped = np.unique(triangles, return_inverse=True)
    shell, chart = shell[used], grid.chart[used]
    triangles = remapped.reshape(-1, 3)
    if cut.length < -2:
        curtain, faces, place = _curtain(cut, skin, grid)
        triangles = np.concatenate([triangles, faces + len(shell), faces[:, ::-1] + len(shell)])
        shell, chart = np.concatenate([shell, curtain]), np.concatenate([chart, place])
    return Piece(
        shell.astype(np.float32), triangles.astype(np.int32), PARTS.index("hair"), chart.astype(np.float32),
        np.zeros(len(shell), np.float32),
    )  # fmt: skip


def _locks(u: np.ndarray, v: np.ndarray, cut: _Style) -> np.ndarray:
    rng = np.random.default_rng(cut.cells)
    table = noise((256, 256), (10 if cut.waves < 0.5 else 18, cut.cells), rng)
    rows = np.clip((v + 26) / 41 * 255, 0, 255).astype(int)
    columns = np.clip((u + 24) / 48 * 255, 0, 255).astype(int)
    return cut.waves * table[rows, columns]


def _curtain(cut: _Style, skin: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hair that hangs from above the ears around the back: vertices, triangles, chart."""
    turn = np.linspace(np.deg2rad(62), np.deg2rad(298), 81)
    drop = np.linspace(0, 1, 26)
    rng = np.random.default_rng(cut.cells + 1)
    wave = noise((26, 81), (3, cut.cells), rng)
    t, a = np.meshgrid(drop, turn, indexing="ij")
    half = float(np.abs(skin[(grid.rim == 0) & (np.abs(grid.chart[:, 1] - 4) < 2.0), 0]).max())
    crown = skin[np.argmin(np.abs(grid.chart[:, 1] - 4) + np.abs(grid.chart[:, 0]))]
    top = 7.5
    y = top + (cut.length - top) * t
    spread = half + cut.sides * step(t, 0.0, 0.25) * 1.15 + 0.5 * t + cut.waves * wave * step(t, 0.0, 0.4)
    spread = spread - 1.2 * step(t, 0.75, 1.0) * (cut.length > -10)
    front = 5.0 - 1.5 * t
    depth = np.where(np.cos(a) > 0, front, 8.9 + 0.4 * cut.sides - 3.2 * step(t, 0.25, 0.8))
    x = spread * np.sin(a)
    z = -0.6 + depth * np.cos(a) * (spread / (half + 1))
    p = np.stack([x, y + 0 * x, z], -1)
    p[..., 0] += 0.0 * crown[0]
    index = np.arange(x.size).reshape(x.shape)
    chart = np.stack([np.where(a < np.pi, 1, -1) * 6 + 6 * np.sin(a), y], -1).reshape(-1, 2)
    return p.reshape(-1, 3), sheet(index), chart


def _normals(p: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    face = np.cross(p[triangles[:, 1]] - p[triangles[:, 0]], p[triangles[:, 2]] - p[triangles[:, 0]])
    total = np.stack([np.bincount(triangles.ravel(), np.repeat(face[:, c], 3), len(p)) for c in range(3)], 1)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)
