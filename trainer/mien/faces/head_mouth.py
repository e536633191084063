"""The mouth of the built-in head: lips that never cross, their inner side, and the hollow behind them."""

from __future__ import annotations

import numpy as np

from mien.faces.head_inside import Piece, sheet
from mien.faces.head_surface import MOUTH_CORNER, MOUTH_LINE, Grid
from mien.faces.rig import PARTS

_LIP_THICKNESS = 0.3


class Mouth:
    """Corrects a posed skin around the cut of the mouth, and hangs the hollow of the mouth on it.

    Attributes:
        upper: int [k], vertices on the edge of the upper lip from the person's right to the left corner.
        lower: int [k], those of the lower lip; the corners belong to both.
    """

    def __init__(self, grid: Grid) -> None:
        chart = grid.chart
        self._rim = np.flatnonzero(grid.slit == 2)
        margin = np.unique(grid.margin[self._rim])
        upper, lower = (margin[grid.lower[margin] == k] for k in (0, 1))
        self.upper = upper[np.argsort(chart[upper, 0])]
        inner = lower[np.argsort(chart[lower, 0])]
        self.lower = np.concatenate([self.upper[:1], inner, self.upper[-1:]])
        self._walls = {
            lower: [_wall(grid, u, edge[np.abs(chart[edge, 0] - u) < 0.01], lower) for u in (-1.0, 0.0, 1.0)]
            for lower, edge in ((False, self.upper), (True, self.lower))
        }
        self._near = np.flatnonzero(
            (grid.rim == 0) & (np.abs(chart[:, 0]) < MOUTH_CORNER) & (np.abs(chart[:, 1] - MOUTH_LINE) < 1.6)
        )
        self._column = np.searchsorted(chart[self.upper, 0], chart[self._near, 0] - 1e-3)
        fall = np.exp(-0.5 * ((chart[self._near, 1] - MOUTH_LINE) / 0.7) ** 2)
        self._share = (np.where(grid.lower[self._near] > 0, -0.5, 0.5) * fall).astype(np.float32)
        self._edge = grid.margin[self._rim]
        depth = grid.rim[self._rim]
        side = np.where(grid.lower[self._rim] > 0, -1.0, 1.0)
        # The inside curls past the other lip, so that no gap shows where closed lips differ in depth.
        curl = np.where(depth == 1, -0.05, 0.06) * side
        self._inward = np.stack([0.0 * depth, curl, -0.38 * depth], axis=1).astype(np.float32)
        innermost = np.flatnonzero((grid.slit == 2) & (grid.rim == 2))
        above, below = innermost[: len(innermost) // 2], innermost[len(innermost) // 2 :]
        self._loop = np.concatenate([above, below[::-1][1:]])
        self._spread = _spread(chart[self._loop, 0], len(above))

    def keep_apart(self, skin: np.ndarray) -> None:
        """Where the lips of `skin` [n, 3] would cross, let both give way by half, in place."""
        overlap = np.maximum(skin[self.lower, 1] - skin[self.upper, 1], 0.0)
        if overlap.max() > 0:
            skin[self._near, 1] += overlap[self._column] * self._share

    def hang_rims(self, skin: np.ndarray) -> None:
        """Place the rows that turn inwards behind the edges of the lips, in place."""
        skin[self._rim] = skin[self._edge] + self._inward

    def retreat(self, skin: np.ndarray, teeth: np.ndarray, lower: bool) -> float:
        """How far one row of teeth must give way to stay behind lip and gum, cm, <= 0.

        Args:
            skin: float32 [n, 3], posed.
            teeth: float32 [k, 3], the front of the row.
            lower: whether it is the lower row.
        """
        shift = 0.0
        for wall in self._walls[lower]:
            x, y, z = skin[wall].T
            facing = teeth[np.abs(teeth[:, 0] - x.mean()) < 0.5]
            room = np.interp(facing[:, 1], y, z) - _LIP_THICKNESS - facing[:, 2]
            shift = min(shift, float(room.min(initial=0.0)))
        return shift

    def hollow(self, skin: np.ndarray) -> np.ndarray:
        """Vertices float32 [m, 3] of a closed bag that starts at the innermost row of the lips."""
        loop = skin[self._loop]
        centre = loop.mean(axis=0)
        wide = loop + self._spread
        deep = 0.55 * wide + 0.45 * centre
        deep[:, 2] = centre[2] - 3.2
        end = np.broadcast_to(centre + np.array([0, 0, -4.2], np.float32), loop.shape)
        return np.concatenate([loop, wide, deep, end]).astype(np.float32)

    def hollow_piece(self) -> Piece:
        """Triangles of the hollow; its vertices come from `hollow`."""
        count = 4 * len(self._loop)
        index = np.arange(count).reshape(4, -1)
        chart = np.stack(
            [np.tile(np.linspace(0, 1, len(self._loop)), 4), np.repeat(np.arange(4.0), len(self._loop))], 1
        )
        return Piece(
            np.zeros((count, 3), np.float32), sheet(index), PARTS.index("cavity"),
            chart.astype(np.float32), np.zeros(count, np.float32),
        )  # fmt: skip


def _wall(grid: Grid, u: float, edge: np.ndarray, lower: bool) -> np.ndarray:
    """Skin vertices of chart column `u` from the `edge` of a lip over the gum, ascending."""
    v = grid.chart[:, 1]
    high, low = (MOUTH_LINE - 0.01, -6.2) if lower else (-1.2, MOUTH_LINE + 0.01)
    column = (grid.rim == 0) & (np.abs(grid.chart[:, 0] - u) < 0.01) & (v < high) & (v > low)
    found = np.concatenate([np.flatnonzero(column), edge])
    return found[np.argsort(v[found])]


def _spread(u: np.ndarray, above: int) -> np.ndarray:
    """How far the bag widens behind the lips, float32 [loop, 3]: cheeks to the sides, palate and floor."""
    across = u / MOUTH_CORNER
    rise = np.where(np.arange(len(u)) < above, 0.6, -0.5) * np.clip(1 - across**2, 0, 1)
    return np.stack([0.25 * across, rise, np.full(len(u), -0.8)], axis=1).astype(np.float32)
