"""Things in front of the face, drawn over the samples of the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mien.faces import wear
from mien.faces.fragments import Fragments
from mien.faces.layer import Layer, lit
from mien.faces.regions import OCCLUDER
from mien.faces.rig import Surface
from mien.faces.scene import OCCLUDERS, Scene
from mien.faces.skin import albedo

# cm: where the fingertips of a hand rest, relative to a landmark, and the angle of the hand (0 = fingers up).
_GRIPS = ((2, (1.2, 3.2), 12.0), (57, (-1.4, 1.4), 38.0), (8, (0.5, 1.6), 22.0))


def cover(
    scene: Scene, surface: Surface, seen: Fragments, picture: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Draw the occluders over `picture` float32 [side, side, 3] and `labels` uint8 [side, side], in place.

    Returns:
        bool [side, side], the samples where the face cannot be seen.

    Raises:
        ValueError: for a kind that is not in `OCCLUDERS`.
    """
    covered = np.zeros(labels.shape, bool)
    for occluder in scene.occluders:
        if occluder.kind not in _PAINTERS:
            raise ValueError(f"occluder {occluder.kind!r} is none of {OCCLUDERS}")
        rng = np.random.default_rng([occluder.seed, OCCLUDERS.index(occluder.kind)])
        layer = _PAINTERS[occluder.kind](_Setting(scene, surface, seen, occluder.side, rng))
        layer.over(picture)
        labels[layer.solid] = OCCLUDER
        covered |= layer.solid
    return covered


@dataclass(frozen=True)
class _Setting:
    """What a painter of an occluder gets to know."""

    scene: Scene
    surface: Surface
    seen: Fragments
    side: int
    rng: np.random.Generator


def _glasses(at: _Setting) -> Layer:
    return wear.glasses(at.scene, at.surface, at.seen, at.rng)


def _mask(at: _Setting) -> Layer:
    return wear.mask(at.scene, at.surface, at.seen, at.rng)


def _hand(at: _Setting) -> Layer:
    """A hand that rests on the cheek, over the mouth or on the chin, from the occluder's side."""
    place, offset, angle = _GRIPS[int(at.rng.integers(len(_GRIPS)))]
    place = 16 - place if place == 2 and at.side > 0 else place
    anchor = at.seen.place(at.surface.landmarks[place : place + 1])[0][0]
    unit = at.seen.density
    tilt = np.deg2rad(angle + at.rng.uniform(-8, 8)) * -at.side
    up = np.array([np.sin(tilt), -np.cos(tilt)])
    right = np.array([np.cos(tilt), np.sin(tilt)])

    def spot(x: float, y: float) -> np.ndarray:
        """Place of a point of the hand: x towards the thumb's side, y towards the fingertips (cm)."""
        return anchor + unit * (right * (x - offset[0]) * -at.side + up * (y + offset[1]))

    canvas = _Canvas(at.seen.side)
    canvas.capsule(spot(2.6, -9.0), spot(2.6, -22.0), 2.9 * unit, 3.4 * unit)
    canvas.capsule(spot(1.6, -6.5), spot(3.4, -6.5), 2.9 * unit, 2.7 * unit)
    lengths = at.rng.uniform(0.92, 1.05) * np.array([0.85, 1.0, 0.94, 0.72])
    spread = at.rng.uniform(1.55, 1.85)
    for finger, length in enumerate(lengths):
        x = spread * finger
        base, tip = spot(0.25 + 0.9 * x, -6.5), spot(x, -7.0 + 7.0 * length)
        canvas.capsule(base, tip, 0.92 * unit, 0.74 * unit)
    canvas.capsule(spot(-0.6, -8.0), spot(-2.6, -3.6), 1.1 * unit, 0.85 * unit)
    base = albedo(at.scene.person, np.array([[0.0, 9.0]], np.float32))[0]
    return lit(
        canvas.height, canvas.height > 0, base * np.array([1.05, 0.97, 0.95], np.float32), at.scene.light
    )


def _microphone(at: _Setting) -> Layer:
    mouth = at.surface.landmarks[57] + np.array([1.6 * at.side, -2.2, 4.0], np.float32)
    (ball,), (depth,) = at.seen.place(mouth[None])
    unit = at.seen.frame.focal / depth
    canvas = _Canvas(at.seen.side)
    lean = at.rng.uniform(1.0, 5.0) * at.side
    canvas.capsule(
        ball + np.array([0, 2.0]) * unit, ball + np.array([lean, 22.0]) * unit, 1.15 * unit, 1.5 * unit
    )
    handle = canvas.height > 0
    canvas.capsule(ball, ball + np.array([0, 0.4]) * unit, 2.15 * unit, 2.1 * unit)
    head = canvas.height > 0
    rows, columns = np.indices(head.shape)
    weave = np.sin((rows + columns) * 2 * np.pi / (0.5 * unit)) * np.sin(
        (rows - columns) * 2 * np.pi / (0.5 * unit)
    )
    metal = np.where(handle[..., None] & (rows > ball[1] + 2.0 * unit)[..., None], 0.03, 0.09)
    tone = metal * (1 + 0.5 * weave[..., None] * (metal > 0.05)) * np.ones(3)
    return lit(canvas.height, head, tone.astype(np.float32), at.scene.light, gloss=0.25)


class _Canvas:
    """A relief of rounded shapes seen from the front; heights in samples."""

    def __init__(self, side: int) -> None:
        self.height = np.zeros((side, side), np.float32)
        centre = np.arange(side, dtype=np.float32) + 0.5
        self._x, self._y = centre[None, :], centre[:, None]

    def capsule(self, start: np.ndarray, end: np.ndarray, first: float, last: float) -> None:
        """Add a rod with round ends from `start` to `end` (x, y), of radius `first` to `last`."""
        along = np.asarray(end, np.float64) - start
        t = ((self._x - start[0]) * along[0] + (self._y - start[1]) * along[1]) / max(
            1e-6, float(along @ along)
        )
        t = np.clip(t, 0, 1)
        radius = first + (last - first) * t
        off2 = (self._x - start[0] - t * along[0]) ** 2 + (self._y - start[1] - t * along[1]) ** 2
        np.maximum(self.height, np.sqrt(np.maximum(radius**2 - off2, 0)), out=self.height, casting="unsafe")


_PAINTERS: dict[str, Callable[[_Setting], Layer]] = {
    "hand": _hand,
    "hair": lambda at: wear.lock(at.scene, at.surface, at.seen, at.side, at.rng),
    "glasses": _glasses,
    "mask": _mask,
    "microphone": _microphone,
}
