"""A scene of the face world: one person at one moment in front of one camera, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mien.faces.actions import Actions
from mien.faces.camera import Camera
from mien.faces.light import sample_light
from mien.faces.person import Person

Style = Literal["studio", "wild"]

OCCLUDERS = ("hand", "hair", "glasses", "mask", "microphone")
"""Things that can cover a part of the face."""

BACKGROUNDS = ("plain", "gradient", "blur", "room")
"""Kinds of background."""


@dataclass(frozen=True)
class Background:
    """What is behind the head: a kind of `BACKGROUNDS`, two linear RGB colours, the seed of its texture."""

    kind: str = "plain"
    colours: tuple[tuple[float, float, float], tuple[float, float, float]] = (
        (0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5),
    )
    seed: int = 0


@dataclass(frozen=True)
class Occluder:
    """Something before the face: a kind of `OCCLUDERS`, its side (1 the person's left, -1 right), a seed."""

    kind: str
    side: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Sensor:
    """What the camera does to the light.

    Attributes:
        exposure: gain before the tone curve.
        blur: standard deviation of the blur as a fraction of the picture's side.
        noise: standard deviation of the noise in 8-bit steps.
        jpeg: quality of a JPEG round trip, 0 for none.
        grey: whether the picture has no colour.
        seed: of the noise.
    """

    exposure: float = 1.0
    blur: float = 0.0
    noise: float = 0.0
    jpeg: int = 0
    grey: bool = False
    seed: int = 0


def default_light() -> np.ndarray:
    """Even light from the front, float32 [9, 3]."""
    return sample_light(np.random.default_rng(1), 0.0)


@dataclass(frozen=True)
class Scene:
    """Everything a rig needs to draw one picture.

    Attributes:
        person: who.
        actions: what the face does.
        pose: (yaw, pitch, roll) of the head, degrees; signs as in `mien.faces.camera.rotation`.
        gaze: (yaw, pitch) of the eyes relative to the head, degrees; > 0 is the person's own left and up.
        light: float32 [9, 3], spherical harmonics of the incoming radiance in the camera frame.
        camera: distance and crop.
        background: what is behind.
        occluders: what is in front.
        sensor: exposure, blur, noise, compression.
    """

    person: Person
    actions: Actions = field(default_factory=Actions)
    pose: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gaze: tuple[float, float] = (0.0, 0.0)
    light: np.ndarray = field(default_factory=default_light)
    camera: Camera = field(default_factory=Camera)
    background: Background = field(default_factory=Background)
    occluders: tuple[Occluder, ...] = ()
    sensor: Sensor = field(default_factory=Sensor)


def sample_scene(
    person: Person, actions: Actions, rng: np.random.Generator, style: Style = "studio"
) -> Scene:
    """Draw pose, gaze, light, camera, background, occluders and sensor around `person` doing `actions`.

    Args:
        person: who.
        actions: what the face does; taken as it is.
        rng: the only source of randomness.
        style: "studio" (within about 15 degrees of frontal, soft light, plain background) or "wild" (yaw up
            to 45 degrees, hard light, occluders, noise, blur, JPEG).

    Raises:
        ValueError: for an unknown style.
    """
    if style not in ("studio", "wild"):
        raise ValueError(f"style {style!r} is neither 'studio' nor 'wild'")
    wild = style == "wild"
    spread = np.array([18.0, 9.0, 8.0] if wild else [6.0, 4.0, 2.5])
    limit = np.array([45.0, 20.0, 20.0] if wild else [15.0, 10.0, 7.0])
    yaw, pitch, roll = np.clip(rng.normal(0, spread), -limit, limit)
    gaze = rng.normal(0, [9.0, 5.0] if wild or rng.random() < 0.3 else [2.0, 1.5])
    # Eyes tend to stay on the camera when the head turns.
    gaze_yaw, gaze_pitch = np.clip(gaze - 0.4 * np.array([yaw, pitch]), [-28, -18], [28, 18])
    return Scene(
        person=person,
        actions=actions,
        pose=(float(yaw), float(pitch), float(roll)),
        gaze=(float(gaze_yaw), float(gaze_pitch)),
        light=sample_light(rng, float(rng.uniform(0.3, 1.0) if wild else rng.uniform(0.0, 0.35))),
        camera=_sample_camera(rng, wild),
        background=_sample_background(rng, wild),
        occluders=_sample_occluders(rng, person) if wild else (),
        sensor=_sample_sensor(rng, wild),
    )


def _sample_camera(rng: np.random.Generator, wild: bool) -> Camera:
    jitter = 0.04 if wild else 0.015
    return Camera(
        distance=float(rng.uniform(45, 160) if wild else rng.uniform(80, 120)),
        scale=float(rng.uniform(0.92, 1.12) if wild else rng.uniform(0.97, 1.05)),
        shift=(float(rng.normal(0, jitter)), float(rng.normal(0, jitter))),
    )


def _sample_background(rng: np.random.Generator, wild: bool) -> Background:
    kind = str(rng.choice(BACKGROUNDS, p=[0.1, 0.2, 0.4, 0.3] if wild else [0.55, 0.35, 0.1, 0.0]))
    base = rng.uniform(0.05, 0.75) * rng.uniform(0.75, 1.25, 3)
    other = base * rng.uniform(0.5, 1.4) if not wild else rng.uniform(0.03, 0.8, 3)
    first, second = (tuple(float(c) for c in np.clip(colour, 0, 1)) for colour in (base, other))
    return Background(kind, ((first[0], first[1], first[2]), (second[0], second[1], second[2])), _seed(rng))


def _sample_occluders(rng: np.random.Generator, person: Person) -> tuple[Occluder, ...]:
    chances = {"hand": 0.08, "hair": 0.12, "glasses": 0.2, "mask": 0.03, "microphone": 0.04}
    drawn = [
        Occluder(kind, int(rng.choice([-1, 1])), _seed(rng))
        for kind, chance in chances.items()
        if rng.random() < chance
    ]
    return tuple(o for o in drawn if o.kind != "hair" or person.hair_style != "bald")


def _sample_sensor(rng: np.random.Generator, wild: bool) -> Sensor:
    if not wild:
        return Sensor(
            exposure=float(rng.uniform(0.9, 1.1)), noise=float(rng.uniform(0, 1.5)), seed=_seed(rng)
        )
    return Sensor(
        exposure=float(np.exp(rng.normal(0, 0.22))),
        blur=float(rng.choice([0.0, rng.uniform(0.002, 0.012)], p=[0.5, 0.5])),
        noise=float(rng.gamma(1.5, 2.0)),
        jpeg=int(rng.integers(35, 95)) if rng.random() < 0.6 else 0,
        grey=bool(rng.random() < 0.1),
        seed=_seed(rng),
    )


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
