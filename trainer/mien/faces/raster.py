"""A vectorised z-buffer: which triangle each pixel sees, and where in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Coverage:
    """The pixels that see a triangle, in row-major order; n of them.

    Attributes:
        pixel: int64 [n], row * width + column.
        triangle: int64 [n], index of the nearest triangle that faces the camera.
        weights: float32 [n, 3], perspective-correct barycentric coordinates, sum 1.
        depth: float32 [n], distance along the optical axis.
    """

    pixel: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray
    depth: np.ndarray

    def interpolate(self, values: np.ndarray, triangles: np.ndarray) -> np.ndarray:
        """Vertex values [v, c] of the mesh `triangles` [t, 3] at each pixel -> [n, c]."""
        corner = triangles[self.triangle]
        total = values[corner[:, 0]] * self.weights[:, :1]
        for k in (1, 2):
            total += values[corner[:, k]] * self.weights[:, k : k + 1]
        return total


def rasterise(
    points: np.ndarray, depth: np.ndarray, triangles: np.ndarray, width: int, height: int
) -> Coverage:
    """Resolve visibility at the pixel centres.

    Args:
        points: float32 [v, 2], in pixels: x right, y down, pixel (r, c) has its centre at (c + .5, r + .5).
        depth: float32 [v], > 0, along the optical axis.
        triangles: int [t, 3]; those whose corners run counter-clockwise to the eye face the camera, others
            are dropped.
        width: of the picture in pixels.
        height: of the picture in pixels.
    """
    shape = _facing(points, triangles)
    low = np.maximum(np.ceil(shape.low - 0.5), 0).astype(np.int32)
    high = np.minimum(np.floor(shape.high - 0.5), [width - 1, height - 1]).astype(np.int32)
    extent = high - low + 1
    kept = np.flatnonzero((extent[:, 0] > 0) & (extent[:, 1] > 0))
    owner, column, row = _candidates(low[kept], extent[kept])
    owner = kept[owner]
    second, third = shape.barycentric(owner, column, row)
    # The tolerance closes the hairline cracks that rounding leaves between neighbours.
    inside = np.flatnonzero((second >= -1e-5) & (third >= -1e-5) & (second + third <= 1 + 1e-5))
    second, third = second[inside], third[inside]
    weights = np.stack([1 - second - third, second, third], axis=1)
    pixel = row[inside].astype(np.int64) * width + column[inside]
    triangle = shape.index[owner[inside]]
    return _nearest(pixel, triangle, weights, (1.0 / depth)[triangles[triangle]], width * height)


@dataclass(frozen=True)
class _Facing:
    """The k triangles that face the camera: index, bounds, first corner and edge functions."""

    index: np.ndarray
    low: np.ndarray
    high: np.ndarray
    corner: np.ndarray
    second: np.ndarray
    third: np.ndarray

    def barycentric(
        self, owner: np.ndarray, column: np.ndarray, row: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Screen-space weights of the second and third corner at the centre of each candidate's pixel."""
        # Relative to the first corner, so that float32 stays exact enough far from the origin.
        corner, second, third = self.corner[owner], self.second[owner], self.third[owner]
        dx = (column.astype(np.float32) + np.float32(0.5)) - corner[:, 0]
        dy = (row.astype(np.float32) + np.float32(0.5)) - corner[:, 1]
        return dx * second[:, 0] + dy * second[:, 1], dx * third[:, 0] + dy * third[:, 1]


def _facing(points: np.ndarray, triangles: np.ndarray) -> _Facing:
    first, second, third = (points[triangles[:, corner]] for corner in range(3))
    edge1, edge2 = second - first, third - first
    area = edge2[:, 0] * edge1[:, 1] - edge2[:, 1] * edge1[:, 0]
    index = np.flatnonzero(area > 1e-9)
    first, second, third, edge1, edge2 = (a[index] for a in (first, second, third, edge1, edge2))
    scale = (1.0 / area[index])[:, None]
    return _Facing(
        index=index,
        low=np.minimum(np.minimum(first, second), third),
        high=np.maximum(np.maximum(first, second), third),
        corner=first,
        second=np.stack([-edge2[:, 1], edge2[:, 0]], axis=1) * scale,
        third=np.stack([edge1[:, 1], -edge1[:, 0]], axis=1) * scale,
    )


def _candidates(low: np.ndarray, extent: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every (triangle, column, row) in the triangles' bounding boxes: int32 [m] each."""
    count = extent[:, 0] * extent[:, 1]
    owner = np.repeat(np.arange(len(count), dtype=np.int32), count)
    start = (np.cumsum(count) - count).astype(np.int32)
    offset = np.arange(len(owner), dtype=np.int32) - start[owner]
    rows = offset // extent[owner, 0]
    return owner, low[owner, 0] + offset - rows * extent[owner, 0], low[owner, 1] + rows


def _nearest(
    pixel: np.ndarray, triangle: np.ndarray, weights: np.ndarray, inverse_depth: np.ndarray, pixels: int
) -> Coverage:
    corner = (weights * inverse_depth).astype(np.float32)
    nearness = corner[:, 0] + corner[:, 1] + corner[:, 2]
    best = np.zeros(pixels, np.float32)
    np.maximum.at(best, pixel, nearness)
    winners = np.flatnonzero(nearness == best[pixel])
    chosen = np.full(pixels, -1, np.int64)
    chosen[pixel[winners]] = winners
    seen = np.flatnonzero(chosen >= 0)
    pick = chosen[seen]
    return Coverage(
        pixel=seen,
        triangle=triangle[pick],
        weights=(corner[pick] / nearness[pick, None]).astype(np.float32),
        depth=(1.0 / nearness[pick]).astype(np.float32),
    )
