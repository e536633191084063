"""Things in front of the face, drawn over the samples of the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from mien.faces import wear
from mien.faces.fragments import Fragments
from mien.faces.layer import Layer, lit
from mien.faces.regions import OCCLUDER
from mien.faces.rig import Surface
from mien.faces.scene import OCCLUDERS, Scene
from mien.faces.skin import albedo

# How a hand lies: the landmark near the middle fingertip (on the person's left, on the right), the shift
# from it outwards and up (cm), and the lean of the fingers towards the midline (degrees).
_GRIPS = (
    ((45, 36), (1.2, -1.6), -6.0),
    ((51, 51), (-0.6, 0.6), 48.0),
    ((54, 48), (0.2, -0.8), 16.0),
)  # fmt: skip


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
        _drop_shadow(layer, seen, picture)
        layer.over(picture)
        labels[layer.solid] = OCCLUDER
        covered |= layer.solid
    return covered


def _drop_shadow(layer: Layer, seen: Fragments, picture: np.ndarray) -> None:
    """Darken the head around something that lies on it or close before it."""
    width = max(3, round(1.2 * seen.density))
    near = uniform_filter(uniform_filter(layer.solid.astype(np.float32), width), width)
    picture.reshape(-1, 3)[seen.pixel] *= 1 - np.float32(0.45) * seen.gather(near)[:, None]


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
    """A hand that rests on the cheek, lies over the mouth or props the chin, from the occluder's side."""
    places, shift, lean = _GRIPS[int(at.rng.integers(len(_GRIPS)))]
    anchor = at.seen.place(at.surface.landmarks[[places[0 if at.side > 0 else 1]]])[0][0]
    unit = at.seen.density
    tilt = np.deg2rad(lean + at.rng.uniform(-8, 8)) * -at.side
    up = np.array([np.sin(tilt), -np.cos(tilt)])
    outwards = np.array([np.cos(tilt), np.sin(tilt)]) * at.side
    anchor = anchor + unit * (shift[0] * outwards + shift[1] * up)

    def spot(x: float, y: float) -> np.ndarray:
        """Place of a point of the hand, cm: x outwards, y towards the fingertips, 0 at the middle one."""
        return anchor + unit * (x * outwards + y * up)

    canvas = _Canvas(at.seen.side)
    canvas.capsule(spot(0.6, -16.5), spot(1.5, -30.0), 2.7 * unit, 3.2 * unit)
    for x in (-1.3, 0.0, 1.3):
        canvas.capsule(spot(x, -9.4), spot(0.5 + 0.7 * x, -14.5), 2.3 * unit, 2.3 * unit)
    spread = at.rng.uniform(0.85, 1.15)
    for finger, (tip, thick) in enumerate(((-0.7, 0.95), (0.0, 1.0), (-0.5, 0.95), (-2.0, 0.82))):
        x = 1.85 * (finger - 1.4)
        canvas.capsule(
            spot(x, -8.6), spot(1.0 * x * spread + 0.3, tip), 0.98 * thick * unit, 0.76 * thick * unit
        )
    canvas.capsule(spot(-2.6, -13.0), spot(-5.0, -8.0), 1.15 * unit, 0.9 * unit)
    skin = albedo(at.scene.person, np.array([[3.0, 0.8]], np.float32))[0]
    return lit(canvas.height, canvas.height > 0, skin, at.scene.light)


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
