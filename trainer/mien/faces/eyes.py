"""The look of the eyeball: sclera, iris where the eye looks, pupil and the reflection of the main light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.faces import light as sh
from mien.faces.fields import step
from mien.faces.fragments import Fragments
from mien.faces.rig import Surface
from mien.faces.scene import Scene

IRIS, PUPIL = 0.62, 0.22
"""Radii of iris and pupil, cm."""

_SCLERA = np.array([0.68, 0.65, 0.62], np.float32)
_BLOOD = np.array([0.62, 0.36, 0.33], np.float32)


@dataclass(frozen=True)
class Globe:
    """Albedo float32 [n, 3], unit normal float32 [n, 3] (camera frame) and mirror-like glint float32 [n]."""

    albedo: np.ndarray
    normal: np.ndarray
    glint: np.ndarray


def gaze_direction(gaze: tuple[float, float]) -> np.ndarray:
    """Unit direction float32 [3] of the eyes in the head frame for a gaze (yaw, pitch) in degrees."""
    yaw, pitch = np.deg2rad(gaze)
    return np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], np.float32)


def eye_surface(scene: Scene, surface: Surface, seen: Fragments, eye: np.ndarray) -> Globe:
    """Shade the fragments `eye` (bool [n]) of both eyeballs analytically, whatever their mesh is."""
    left = seen.of("eye_left")[eye]
    centre = np.where(left[:, None], surface.eyes[0], surface.eyes[1])
    out = seen.head[eye] - centre
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    ahead = gaze_direction(scene.gaze)
    towards = out - ahead * (out @ ahead)[:, None]
    radius = np.linalg.norm(towards, axis=1) * surface.eye_radius
    radius = np.where(out @ ahead > 0, radius, surface.eye_radius)
    colour = _colours(scene, seen, radius, towards, np.where(left, 1.0, -1.0) * out[:, 0])
    normal = out @ seen.turn.T
    return Globe(colour, normal, _glint(scene, out, ahead, radius, seen))


def _colours(
    scene: Scene, seen: Fragments, radius: np.ndarray, towards: np.ndarray, outward: np.ndarray
) -> np.ndarray:
    soft = max(0.05, 0.5 / seen.density)
    angle = np.arctan2(towards[:, 1], towards[:, 0])
    phase = scene.person.seed % 97
    rays = 0.5 + 0.25 * np.sin(17 * angle + phase) + 0.25 * np.sin(29 * angle + 2 * phase)
    ring = step(radius, IRIS - 0.16, IRIS)[:, None]
    inner = step(radius, PUPIL + 0.2, PUPIL)[:, None]
    iris = scene.person.iris * (0.75 + 0.5 * rays[:, None]) * (1 + 0.5 * inner) * (1 - 0.55 * ring)
    corner = np.clip(np.abs(outward) - 0.5, 0, 0.5)[:, None] * 2
    sclera = _SCLERA * (1 - 0.45 * corner) + _BLOOD * 0.45 * corner
    colour = sclera + (iris - sclera) * step(radius, IRIS + soft, IRIS - soft)[:, None]
    return (colour * (1 - 0.96 * step(radius, PUPIL + soft, PUPIL - soft)[:, None])).astype(np.float32)


def _glint(
    scene: Scene, out: np.ndarray, ahead: np.ndarray, radius: np.ndarray, seen: Fragments
) -> np.ndarray:
    """Reflection of the main light in the cornea, which is rounder than the globe."""
    cornea = step(radius, IRIS + 0.1, IRIS - 0.1)[:, None]
    bulging = out + 0.75 * cornea * (out - ahead)
    bulging = bulging / np.linalg.norm(bulging, axis=1, keepdims=True) @ seen.turn.T
    middle = sh.main_direction(scene.light) + np.array([0, 0, 1.4], np.float32)
    middle /= np.linalg.norm(middle)
    # A spot smaller than a sample would flicker: widen it with the size of a sample.
    width = max(0.10, 0.45 / seen.density)
    off = np.arccos(np.clip(bulging @ middle, -1, 1))
    return (0.85 * np.exp(-0.5 * (off / width) ** 2)).astype(np.float32)
