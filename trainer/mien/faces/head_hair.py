"""Hair of the built-in head: a shell that dips under the skin at the hair line, and curtains."""

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
        ears: whether the ears show.
    """

    line: float
    temple: float
    part: float
    volume: float
    sides: float
    length: float
    waves: float
    cells: int
    ears: bool = True


STYLES: dict[str, _Style] = {
    "receding": _Style(11.6, 10.2, 0.0, 0.5, 0.35, 0.0, 0.08, 30),
    "short": _Style(9.4, 8.2, 0.0, 1.1, 0.5, 0.0, 0.2, 26),
    "side_part": _Style(9.3, 8.0, 0.6, 1.6, 0.6, 0.0, 0.22, 20),
    "fringe": _Style(7.2, 6.6, 0.0, 1.5, 1.0, -1.5, 0.2, 28),
    "curly": _Style(9.0, 7.6, 0.0, 2.6, 1.9, -1.5, 0.55, 22, ears=False),
    "bob": _Style(8.9, 7.4, 0.5, 1.5, 1.3, -7.0, 0.16, 24, ears=False),
    "long": _Style(9.1, 7.8, 0.3, 1.5, 1.2, -17.0, 0.2, 24, ears=False),
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
    # Linear through 0 at the hair line: shell and skin cross where the line is, not where the mesh is.
    full = np.maximum(full + locks, 0.15)
    thick = np.where(inside > 0, full * (1 - np.exp(-inside / 1.4)), np.maximum(full / 1.4 * inside, -1.2))
    shell = skin + normal * thick[:, None]
    outer = (grid.rim == 0)[grid.triangles].all(axis=1)
    triangles = grid.triangles[outer & (inside[grid.triangles] > -0.1).any(axis=1)]
    used, remapped = np.unique(triangles, return_inverse=True)
    shell, chart = shell[used], grid.chart[used]
    triangles = remapped.reshape(-1, 3)
    if cut.length < -2:
        curtain, faces, place = _curtain(cut, skin, grid)
        triangles = np.concatenate([triangles, faces + len(shell)])
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


def shows_ears(style: str) -> bool:
    """Whether ears stick out of the hair."""
    return style == "bald" or STYLES[style].ears


def _curtain(cut: _Style, skin: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hair that hangs from under the cap around the back, outside and inside: vertices, triangles, chart."""
    columns, rows = 97, 26
    wave = noise((rows, columns), (3, cut.cells), np.random.default_rng(cut.cells + 1))
    t, a = np.meshgrid(
        np.linspace(0, 1, rows), np.linspace(np.deg2rad(66), np.deg2rad(294), columns), indexing="ij"
    )
    level = (grid.rim == 0) & (np.abs(grid.chart[:, 1] - 4) < 2.0)
    half, back = np.abs(skin[level, 0]).max(), skin[level, 2].min()
    y = 9.0 + (cut.length - 9.0) * t
    below = np.clip((2.0 - y) / 9.0, 0, 1)
    swell = cut.sides * step(t, 0.02, 0.45) + cut.waves * wave * step(t, 0.1, 0.4)
    side = half - 0.3 + swell + 0.4 * below - 0.9 * step(t, 0.7, 1.0) * (cut.length > -10)
    behind = -back - 0.4 + swell - 3.5 * step(below, 0.0, 1.0)
    # Ends are cut uneven.
    y = y + 0.35 * wave * t
    x = side * np.sin(a) * (1 - 0.1 * below * (np.abs(np.sin(a)) > 0))
    z = np.where(np.cos(a) > 0, (6.5 - 1.0 * below) * np.cos(a), behind * np.cos(a)) - 0.3
    p = np.stack([x, y, z], -1).reshape(-1, 3)
    faces = sheet(np.arange(x.size).reshape(x.shape))
    chart = np.stack([7.5 * a, y], -1).reshape(-1, 2)
    return (
        np.concatenate([p, p]),
        np.concatenate([faces, faces[:, ::-1] + x.size]),
        np.concatenate([chart, chart]),
    )


def _normals(p: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    face = np.cross(p[triangles[:, 1]] - p[triangles[:, 0]], p[triangles[:, 2]] - p[triangles[:, 0]])
    total = np.stack([np.bincount(triangles.ravel(), np.repeat(face[:, c], 3), len(p)) for c in range(3)], 1)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)
