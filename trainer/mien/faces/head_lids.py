"""The lids of the built-in head: skin laid over the eyeballs and turned in at the edges of the eye."""

from __future__ import annotations

import numpy as np

from mien.faces.head_surface import EYE_RADIUS, LID_RADIUS, Grid

_BLEND = np.float32(0.12)
_THICKNESS = 0.14


class Lids:
    """Corrects a posed skin around both eyes.

    Attributes:
        margins: vertices on the edge of the left and of the right eye, int [k] each.
    """

    def __init__(self, grid: Grid) -> None:
        u, v = grid.chart.T
        a = np.abs(u)
        self._near = np.flatnonzero((grid.rim == 0) & (a > 0.8) & (a < 5.8) & (v > 1.4) & (v < 6.2))
        self._rims = [np.flatnonzero((grid.slit == 1) & (u * side > 0)) for side in (1, -1)]
        self._edges = [grid.margin[rim] for rim in self._rims]
        self._first = [grid.rim[rim, None] == 1 for rim in self._rims]
        self.margins = [np.unique(edge) for edge in self._edges]

    def lay(self, skin: np.ndarray, eyes: np.ndarray) -> None:
        """Push lids of `skin` [n, 3] out to the eyeballs at `eyes` [2, 3] and hang their rims, in place."""
        skin[self._near] = cover_eyes(skin[self._near], eyes)
        for rim, edge, first, centre in zip(self._rims, self._edges, self._first, eyes):
            outward = skin[edge] - centre
            far = np.linalg.norm(outward, axis=1, keepdims=True)
            # The second row ends inside the eyeball, so that no gap opens between lid and eye.
            near = np.where(first, far - _THICKNESS, 0.9 * EYE_RADIUS)
            skin[rim] = centre + outward * (near / far)


def cover_eyes(p: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Push skin [n, 3] in front of the eyeballs out onto spheres around `centres` [2, 3] (left, right)."""
    out = p.copy()
    centre = np.where((p[:, :1] > 0), centres[0], centres[1])
    offset = p[:, :2] - centre[:, :2]
    d2 = (offset * offset).sum(axis=1)
    sphere = (
        centre[:, 2] + np.sqrt(np.maximum(LID_RADIUS**2 - d2, 0.0)) - 2.0 * np.maximum(d2 - LID_RADIUS**2, 0)
    )
    gap = np.clip((sphere - p[:, 2]) / _BLEND, -30, 30)
    out[:, 2] += _BLEND * np.logaddexp(0.0, gap)
    return out
