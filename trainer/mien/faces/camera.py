"""Pose of the head and the pinhole camera that crops it as a face detector would."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PIVOT = np.array([0.0, -1.0, 1.0], np.float32)
"""Point of the head it turns about, in head coordinates (cm)."""

_BOX_MARGIN = 1.3


def rotation(pose: tuple[float, float, float]) -> np.ndarray:
    """Rotation matrix float32 [3, 3] of a pose (yaw, pitch, roll) in degrees: yaw, then pitch, then roll.

    Yaw > 0 turns the face to the person's own left (right in the picture), pitch > 0 looks up, roll > 0 tips
    the head towards the person's own left shoulder (clockwise in the picture).
    """
    yaw, pitch, roll = np.deg2rad(np.asarray(pose, np.float64) * [1, -1, -1])
    cy, sy, cp, sp, cr, sr = (
        np.cos(yaw),
        np.sin(yaw),
        np.cos(pitch),
        np.sin(pitch),
        np.cos(roll),
        np.sin(roll),
    )
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (about_z @ about_x @ about_y).astype(np.float32)


@dataclass(frozen=True)
class Camera:
    """Where the camera stands and how the detector's box jitters.

    Attributes:
        distance: from the camera to the pivot of the head, cm.
        scale: side of the crop relative to the detector box with margin 1.3.
        shift: displacement of the crop as a fraction of its side, (right, down).
    """

    distance: float = 90.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def frame(self, landmarks: np.ndarray, size: int) -> Frame:
        """Crop around `landmarks` (float [68, 3], cm, camera frame, at rest) for a picture of side `size`."""
        x, y = (landmarks[:, :2] / (self.distance - landmarks[:, 2:])).T
        side = max(np.ptp(x), np.ptp(y)) * _BOX_MARGIN * self.scale
        left = (x.min() + x.max()) / 2 - side * (0.5 - self.shift[0])
        top = (y.min() + y.max()) / 2 + side * (0.5 + 0.06 + self.shift[1])
        return Frame(self.distance, size / side, float(left), float(top))


@dataclass(frozen=True)
class Frame:
    """A projection from the camera frame (cm) to pixels.

    u = focal * (x / depth - left), v = focal * (top - y / depth).

    Pixel (row r, column c) has its centre at (u, v) = (c + 0.5, r + 0.5).
    """

    distance: float
    focal: float
    left: float
    top: float

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Float32 [n, 3] points -> (float32 [n, 2] pixels, float32 [n] depth in cm from the camera)."""
        depth = np.maximum(self.distance - points[:, 2], 1.0)
        u = self.focal * (points[:, 0] / depth - self.left)
        v = self.focal * (self.top - points[:, 1] / depth)
        return np.stack([u, v], axis=1).astype(np.float32), depth.astype(np.float32)
