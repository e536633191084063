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
        corner = np.take(triangles, self.triangle, axis=0)
        total = np.take(values, corner[:, 0], axis=0) * self.weights[:, :1]
        for k in (1, 2):
            total += np.take(values, corner[:, k], axis=0) * self.weights[:, k : k + 1]
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
    """The k triangles that face the camera.

    Attributes:
        index: int64 [k], which they are.
        low, high: float32 [k, 2], bounds in the picture.
        edges: float32 [k, 6], first corner (x, y), then the slopes along x and y of the weights of the second
            and the third corner.
    """

    index: np.ndarray
    low: np.ndarray
    high: np.ndarray
    edges: np.ndarray

    def barycentric(
        self, owner: np.ndarray, column: np.ndarray, row: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Screen-space weights of the second and third corner at the centre of each candidate's pixel."""
        # Relative to the first corner, so that float32 stays exact enough far from the origin.
        x, y, second_x, second_y, third_x, third_y = np.take(self.edges, owner, axis=0).T
        dx = column.astype(np.float32) + np.float32(0.5) - x
        dy = row.astype(np.float32) + np.float32(0.5) - y
        return dx * second_x + dy * second_y, dx * third_x + dy * third_y


def _facing(points: np.ndarray, triangles: np.ndarray) -> _Facing:
    (ax, ay), (bx, by), (cx, cy) = (np.take(points, triangles[:, corner], axis=0).T for corner in range(3))
    area = (cx - ax) * (by - ay) - (cy - ay) * (bx - ax)
    index = np.flatnonzero(area > 1e-9)
    ax, ay, bx, by, cx, cy = (along[index] for along in (ax, ay, bx, by, cx, cy))
    scale = 1.0 / area[index]
    slopes = ((ay - cy) * scale, (cx - ax) * scale, (by - ay) * scale, (ax - bx) * scale)
    return _Facing(
        index=index,
        low=np.stack([np.minimum(np.minimum(ax, bx), cx), np.minimum(np.minimum(ay, by), cy)], axis=1),
        high=np.stack([np.maximum(np.maximum(ax, bx), cx), np.maximum(np.maximum(ay, by), cy)], axis=1),
        edges=np.stack([ax, ay, *slopes], axis=1),
    )


def _candidates(low: np.ndarray, extent: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every (triangle, column, row) in the triangles' bounding boxes: int32 [m] each."""
    count = extent[:, 0] * extent[:, 1]
    owner = np.repeat(np.arange(len(count), dtype=np.int32), count)
    start = np.cumsum(count) - count
    box = np.stack([start, extent[:, 0], low[:, 0], low[:, 1]], axis=1).astype(np.int32)
    start, width, left, top = np.take(box, owner, axis=0).T
    offset = np.arange(len(owner), dtype=np.int32) - start
    rows = offset // width
    return owner, left + offset - rows * width, top + rows


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
