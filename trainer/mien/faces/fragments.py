"""What the camera sees of a head: one fragment for each sample of the picture that a triangle covers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.faces.camera import PIVOT, Frame, rotation
from mien.faces.raster import Coverage, rasterise
from mien.faces.rig import PARTS, Surface
from mien.faces.scene import Scene

FAR = np.float32(-1e3)
"""Height of the samples that see no triangle."""


@dataclass(frozen=True)
class Fragments:
    """The n samples that see the head, row-major, and the square of samples they lie in.

    Attributes:
        side: of the square, in samples.
        pixel: int64 [n], row * side + column.
        part: uint8 [n], index into `PARTS`.
        head: float32 [n, 3], place in the head frame, cm.
        normal: float32 [n, 3], unit, camera frame.
        chart: float32 [n, 2], as in `Surface`.
        rim: float32 [n], as in `Surface`.
        depth: float32 [n], cm from the camera along the optical axis.
        height: float32 [side, side], distance of the pivot minus depth, cm; `FAR` where nothing is seen.
        turn: float32 [3, 3], rotation from the head to the camera frame.
        frame: the projection, in samples.
    """

    side: int
    pixel: np.ndarray
    part: np.ndarray
    head: np.ndarray
    normal: np.ndarray
    chart: np.ndarray
    rim: np.ndarray
    depth: np.ndarray
    height: np.ndarray
    turn: np.ndarray
    frame: Frame

    @property
    def density(self) -> float:
        """Samples per cm at the pivot of the head."""
        return self.frame.focal / self.frame.distance

    def of(self, *parts: str) -> np.ndarray:
        """Which fragments belong to one of `parts`, bool [n]."""
        chosen = np.zeros(len(PARTS), bool)
        chosen[[PARTS.index(part) for part in parts]] = True
        return chosen[self.part]

    def scatter(self, values: np.ndarray, empty: float = 0.0) -> np.ndarray:
        """Values [n, ...] of the fragments as a picture [side, side, ...], `empty` elsewhere."""
        picture = np.full((self.side * self.side, *values.shape[1:]), empty, values.dtype)
        picture[self.pixel] = values
        return picture.reshape(self.side, self.side, *values.shape[1:])

    def gather(self, picture: np.ndarray) -> np.ndarray:
        """The inverse of `scatter`: [side, side, ...] -> [n, ...]."""
        return picture.reshape(self.side * self.side, *picture.shape[2:])[self.pixel]

    def place(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points of the head frame, float [k, 3] cm -> (float32 [k, 2] samples, float32 [k] depth in cm)."""
        return self.frame.project((np.asarray(points, np.float32) - PIVOT) @ self.turn.T)


def see(scene: Scene, surface: Surface, side: int) -> Fragments:
    """Project and rasterise `surface` into `side` x `side` samples as the scene's camera and pose demand."""
    turn = rotation(scene.pose)
    posed = (surface.vertices - PIVOT) @ turn.T
    frame = scene.camera.frame((surface.resting - PIVOT) @ turn.T, side)
    points, depth = frame.project(posed)
    seen = rasterise(points, depth, surface.triangles, side, side)
    normal = vertex_normals(posed, surface.triangles)
    values = _interpolate(
        seen, surface.triangles, [surface.vertices, normal, surface.chart, surface.rim[:, None]]
    )
    height = np.full(side * side, FAR, np.float32)
    height[seen.pixel] = frame.distance - seen.depth
    return Fragments(
        side=side,
        pixel=seen.pixel,
        part=surface.part[seen.triangle],
        head=values[:, :3],
        normal=_unit(values[:, 3:6]),
        chart=values[:, 6:8],
        rim=values[:, 8],
        depth=seen.depth,
        height=height.reshape(side, side),
        turn=turn,
        frame=frame,
    )


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals of the vertices, float32 [v, 3]: mean of their triangles, weighted by area."""
    first, second, third = (vertices[triangles[:, corner]] for corner in range(3))
    (ax, ay, az), (bx, by, bz) = (second - first).T, (third - first).T
    flat, count = triangles.T.ravel(), len(vertices)
    cross = (ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)
    total = [np.bincount(flat, np.tile(along, 3), count) for along in cross]
    return _unit(np.stack(total, axis=1).astype(np.float32))


def _interpolate(seen: Coverage, triangles: np.ndarray, values: list[np.ndarray]) -> np.ndarray:
    return seen.interpolate(np.concatenate(values, axis=1).astype(np.float32), triangles)


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.sqrt(np.einsum("nc,nc->n", vectors, vectors))
    return vectors / np.maximum(length, 1e-12)[:, None]
