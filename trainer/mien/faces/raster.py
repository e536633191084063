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
        corners = values[triangles[self.triangle]]
        return np.einsum("nkc,nk->nc", corners, self.weights)


def rasterise(
    points: np.ndarray, depth: np.ndarray, triangles: np.ndarray, width: int, height: int
) -> Coverage:
    """Resolve visibility at the pixel centres.

    Args:
        points: float32 [v, 2], pixel coordinates (x right, y down; pixel (r, c) has its centre at (c + .5, r + .5)).
        depth: float32 [v], > 0, along the optical axis.
        triangles: int [t, 3]; those that are clockwise in the picture (counter-clockwise seen with y up) face the
            camera, all others are dropped.
        width: of the picture in pixels.
        height: of the picture in pixels.
    """
    index, corners, area = _facing(points, triangles)
    low = np.clip(np.ceil(corners.min(axis=1) - 0.5), 0, None).astype(np.int32)
    high = np.minimum(np.floor(corners.max(axis=1) - 0.5), [width - 1, height - 1]).astype(np.int32)
    extent = high - low + 1
    kept = (extent > 0).all(axis=1)
    index, corners, area, low, extent = (a[kept] for a in (index, corners, area, low, extent))
    owner, column, row = _candidates(low, extent)
    weights, inside = _inside(corners, area, owner, column, row)
    owner, pixel = owner[inside], (row[inside].astype(np.int64) * width + column[inside])
    return _nearest(pixel, index[owner], weights[inside], 1.0 / depth[triangles], width * height)


def _facing(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    corners = points[triangles]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = second[:, 0] * first[:, 1] - second[:, 1] * first[:, 0]
    index = np.flatnonzero(area > 1e-9)
    return index, corners[index], area[index]


def _candidates(low: np.ndarray, extent: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every (triangle, pixel) pair in the triangles' bounding boxes."""
    count = extent[:, 0] * extent[:, 1]
    owner = np.repeat(np.arange(len(count), dtype=np.int32), count)
    start = np.cumsum(count) - count
    offset = np.arange(len(owner), dtype=np.int32) - np.repeat(start.astype(np.int32), count)
    rows, columns = np.divmod(offset, extent[owner, 0])
    return owner, low[owner, 0] + columns, low[owner, 1] + rows


def _inside(
    corners: np.ndarray, area: np.ndarray, owner: np.ndarray, column: np.ndarray, row: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Screen-space barycentrics of the candidates, and which lie in their triangle."""
    # Edge functions as a x + b y + c relative to corner 0 keep float32 exact enough far from the origin.
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    scale = (1.0 / area)[:, None]
    second = np.concatenate([edge2[:, 1:] * -scale, edge2[:, :1] * scale], axis=1)
    third = np.concatenate([edge1[:, 1:] * scale, edge1[:, :1] * -scale], axis=1)
    dx = column.astype(np.float32) + np.float32(0.5) - corners[owner, 0, 0]
    dy = row.astype(np.float32) + np.float32(0.5) - corners[owner, 0, 1]
    w1 = dx * second[owner, 0] + dy * second[owner, 1]
    w2 = dx * third[owner, 0] + dy * third[owner, 1]
    weights = np.stack([1 - w1 - w2, w1, w2], axis=1)
    # The tolerance closes the hairline cracks that rounding leaves between neighbours.
    return weights, (weights.min(axis=1) >= -1e-5)


def _nearest(
    pixel: np.ndarray, triangle: np.ndarray, weights: np.ndarray, inverse_depth: np.ndarray, pixels: int
) -> Coverage:
    corner = weights * inverse_depth[triangle]
    nearness = corner.sum(axis=1)
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
