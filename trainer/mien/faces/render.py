"""The renderer of the face world: a scene and a rig give a picture and its exact ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.faces.backdrop import backdrop
from mien.faces.fragments import Fragments, see
from mien.faces.occlude import cover
from mien.faces.regions import LABELS, label
from mien.faces.rig import Rig
from mien.faces.scene import Scene
from mien.faces.sensor import expose
from mien.faces.shade import shade

REGIONS = LABELS
"""Names of the values of `Rendering.regions`."""

_SAMPLES = 2
_TOLERANCE = 0.45


@dataclass(frozen=True)
class Rendering:
    """A picture and what is true of it. Pixel (r, c) has its centre at (x, y) = (c + 0.5, r + 0.5).

    Normals and depth are those of the head, also where something covers it, as of a 3D fit of the face;
    regions and visibility tell what is covered.

    Attributes:
        image: uint8 [size, size, 3], sRGB.
        normals: float32 [size, size, 3], unit, camera frame (x right, y up, z towards the camera); 0 where
            there is no head.
        depth: float32 [size, size], cm from the camera along the optical axis; 0 without a head.
        regions: uint8 [size, size], index into `REGIONS`.
        landmarks: float32 [68, 2], Multi-PIE (iBUG) points (x, y) in pixels; they may lie outside.
        resting: float32 [68, 2], where they would lie without any action: the pose alone.
        visible: bool [68], whether the camera sees the landmark.
    """

    image: np.ndarray
    normals: np.ndarray
    depth: np.ndarray
    regions: np.ndarray
    landmarks: np.ndarray
    resting: np.ndarray
    visible: np.ndarray


def render(scene: Scene, rig: Rig, size: int) -> Rendering:
    """Draw `scene` with the head of `rig`; the same arguments give the same bytes.

    Args:
        scene: who does what, where; `Person.act` is applied here, so `scene.actions` are the intended ones.
        rig: the head.
        size: side of the picture, pixels.
    """
    actions = scene.person.act(scene.actions)
    surface = rig.surface(scene.person, actions, scene.gaze)
    seen = see(scene, surface, size * _SAMPLES)
    radiance, normal = shade(scene, actions, surface, seen)
    picture = backdrop(scene.background, seen.side)
    picture.reshape(-1, 3)[seen.pixel] = radiance
    labels = label(seen)
    covered = cover(scene, surface, seen, picture, labels)
    points, depth = seen.place(surface.landmarks)
    normals, distance = _geometry(seen, normal)
    return Rendering(
        image=expose(_average(picture), scene.sensor),
        normals=normals,
        depth=distance,
        regions=_majority(labels),
        landmarks=points / _SAMPLES,
        resting=seen.place(surface.resting)[0] / _SAMPLES,
        visible=_visible(points, depth, seen, covered),
    )


def _average(picture: np.ndarray) -> np.ndarray:
    """Mean of the samples of each pixel: [s * k, s * k, ...] -> [s, s, ...]."""
    k = _SAMPLES
    total = picture[::k, ::k].astype(np.float32)
    for row, column in [(0, 1), (1, 0), (1, 1)]:
        total += picture[row::k, column::k]
    return total / np.float32(k * k)


def _geometry(seen: Fragments, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normals and depth of the pixels at least half of whose samples see the head."""
    share = _average(seen.scatter(np.ones(len(seen.pixel), np.float32)))
    head = share >= 0.5
    total = _average(seen.scatter(normal))
    length = np.linalg.norm(total, axis=2, keepdims=True)
    normals = np.where(head[..., None], total / np.maximum(length, 1e-9), 0)
    depth = np.where(head, _average(seen.scatter(seen.depth)) / np.maximum(share, 1e-9), 0)
    return normals.astype(np.float32), depth.astype(np.float32)


def _majority(labels: np.ndarray) -> np.ndarray:
    """The commonest label of the samples of each pixel; of equals the higher one."""
    k = _SAMPLES
    votes = np.stack([labels[row::k, column::k] for row in range(k) for column in range(k)])
    count = (votes[:, None] == votes[None]).sum(axis=1) * 256 + votes
    return (count.max(axis=0) % 256).astype(np.uint8)


def _visible(points: np.ndarray, depth: np.ndarray, seen: Fragments, covered: np.ndarray) -> np.ndarray:
    """Landmarks in the picture, not covered, and not behind what the samples around them see."""
    column, row = np.floor(points).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < seen.side) & (row < seen.side)
    column, row = np.clip(column, 0, seen.side - 1), np.clip(row, 0, seen.side - 1)
    reach = max(1, round(0.12 * seen.density))
    around = np.clip(np.arange(-reach, reach + 1)[:, None] + row, 0, seen.side - 1)
    beside = np.clip(np.arange(-reach, reach + 1)[:, None] + column, 0, seen.side - 1)
    lowest = seen.height[around[:, None], beside[None]].min(axis=(0, 1))
    return inside & ~covered[row, column] & (seen.frame.distance - depth > lowest - _TOLERANCE)
