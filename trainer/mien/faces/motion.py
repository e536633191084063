"""Clips of the face world: one person in one scene, whose actions rise from rest to an apex and fall.

Onset, apex and offset are the phases of a facial action in FACS (Ekman and Friesen); their lengths here are
ours, and so are blinks, drift of the head and shifts of gaze.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mien.faces.actions import Actions
from mien.faces.emotions import Expression
from mien.faces.person import Person
from mien.faces.render import render
from mien.faces.rig import Rig, open_rig
from mien.faces.scene import Scene, Style, sample_scene

_BLINK, _LIDS = 45, (5, 43)
# Frames of a blink to either side of its middle; a blink takes about a quarter of a second.
_BLINK_REACH = 2.0
_DRIFT = (3.0, 2.0, 1.5)


@dataclass(frozen=True)
class Clip:
    """A clip and what is true of it.

    Attributes:
        frames: uint8 [T, H, W, 3], sRGB.
        strength: float64 [T] in [0, 1], share of the expression that each frame shows; 1 at the apex.
        blink: float64 [T] in [0, 1], how far a blink shuts the eyes.
        pose: float64 [T, 3], yaw, pitch, roll in degrees.
        gaze: float64 [T, 2], yaw and pitch in degrees.
    """

    frames: np.ndarray
    strength: np.ndarray
    blink: np.ndarray
    pose: np.ndarray
    gaze: np.ndarray

    @property
    def apex(self) -> int:
        """Index of the first frame at full strength."""
        return int(self.strength.argmax())


def make_clip(
    person: Person,
    expression: Expression,
    rng: np.random.Generator,
    *,
    frames: int = 16,
    size: int = 96,
    style: Style = "studio",
    rig: Rig | None = None,
) -> Clip:
    """Draws a clip; the same arguments give the same bytes.

    Args:
        person: who.
        expression: shown at the apex; `expression.actions` as intended, as in `mien.faces.render.render`.
        rng: the only source of randomness.
        frames: length, 1 or more; a clip of one frame shows the apex.
        size: side of a frame, pixels.
        style: of the scene, as in `mien.faces.scene.sample_scene`.
        rig: the head; the built-in one when None.

    Raises:
        ValueError: for fewer than one frame.
    """
    if frames < 1:
        raise ValueError(f"a clip of {frames} frames")
    scene = sample_scene(person, expression.actions, rng, style)
    strength = envelope(frames, rng)
    blink = _blinks(frames, strength, rng)
    pose = np.array(scene.pose) + _drift(frames, np.array(_DRIFT), rng)
    gaze = np.clip(np.array(scene.gaze) + _saccades(frames, rng), [-28, -18], [28, 18])
    head = rig or open_rig()
    drawn = [
        render(_moment(scene, t, strength[t], blink[t], pose[t], gaze[t]), head, size).image
        for t in range(frames)
    ]
    return Clip(np.stack(drawn), strength, blink, pose, gaze)


def envelope(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Strength of an expression over time, float64 [frames] in [0, 1].

    It starts near rest, rises over a fifth to two fifths of the clip, holds, and falls to a rest of its own;
    one frame at least is 1.
    """
    onset = rng.uniform(0.02, 0.12)
    apex = onset + rng.uniform(0.2, 0.4)
    offset = rng.uniform(0.65, 0.8)
    rest = rng.uniform(0.0, 0.1)
    end = rng.uniform(0.1, 0.45)
    time = (np.arange(frames) + 0.5) / frames
    rise = _smooth((time - onset) / (apex - onset))
    fall = _smooth((time - offset) / (1.05 - offset))
    strength = (rest + (1 - rest) * rise) * (1 - (1 - end) * fall)
    strength[strength.argmax()] = 1.0
    return strength


def _moment(scene: Scene, t: int, strength: float, blink: float, pose: np.ndarray, gaze: np.ndarray) -> Scene:
    yaw, pitch, roll = (float(angle) for angle in pose)
    return replace(
        scene,
        actions=_act(scene.actions, strength, blink),
        pose=(yaw, pitch, roll),
        gaze=(float(gaze[0]), float(gaze[1])),
        # Sensor noise is new in every frame; everything else of the scene stays.
        sensor=replace(scene.sensor, seed=(scene.sensor.seed + t) % 2**31),
    )


def _act(actions: Actions, strength: float, blink: float) -> Actions:
    def side(apex: dict[int, float]) -> dict[int, float]:
        # A blink of the apex would last the whole clip: blinks come from `_blinks` alone.
        now = {unit: value * strength for unit, value in apex.items() if unit != _BLINK}
        for unit in _LIDS:
            if unit in now:
                now[unit] *= 1 - blink
        if blink > 0:
            now[_BLINK] = blink
        return now

    return Actions(side(dict(actions.left)), side(dict(actions.right)))


def _blinks(frames: int, strength: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One blink for about 40 frames, at most one in shorter clips, never at the apex."""
    closed = np.zeros(frames)
    for _ in range(max(int(rng.random() < min(frames / 20, 0.8)), frames // 40)):
        middle = rng.uniform(0, frames)
        closed = np.maximum(closed, 1 - np.abs(np.arange(frames) - middle) / _BLINK_REACH)
    closed[strength >= 0.9] = 0.0
    return np.clip(closed, 0.0, 1.0)


def _drift(frames: int, reach: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Slow head motion, degrees, float64 [frames, 3]: half a swing to one swing a clip."""
    time = np.arange(frames)[:, None] / max(frames - 1, 1)
    turns, phase = rng.uniform(0.5, 1.0, 3), rng.uniform(0, 2 * np.pi, 3)
    swing: np.ndarray = reach * rng.uniform(0.3, 1.0, 3) * np.sin(2 * np.pi * turns * time + phase)
    return swing


def _saccades(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Gaze that rests and jumps, degrees, float64 [frames, 2]."""
    place = np.zeros((frames, 2))
    for _ in range(1 + frames // 24):
        place[int(rng.integers(1, max(frames, 2))) :] = rng.normal(0, [2.5, 1.5])
    return place


def _smooth(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)
