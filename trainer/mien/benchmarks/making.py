"""Faces for generated sets: who shows what, drawn small and seeded, with the truth beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.benchmarks.base import Making
from mien.faces.actions import Actions
from mien.faces.captions import Caption, describe
from mien.faces.emotions import Expression, sample_expression
from mien.faces.person import Person, sample_person
from mien.faces.render import render
from mien.faces.rig import open_rig
from mien.faces.scene import sample_scene

_BENCHMARK = 7  # a stream of random numbers of its own, apart from those of `faces.synth`


@dataclass(frozen=True)
class Drawn:
    """A picture and its truth.

    Attributes:
        image: RGB uint8 [S, S, 3].
        units: intensity in [0, 1] of every action unit that the face shows, the stronger side.
        caption: sentences that are true of it.
    """

    image: NDArray[np.uint8]
    units: dict[int, float]
    caption: Caption


def draw(how: Making, person: int, emotion: str, number: int) -> Drawn:
    """Person `person` of the set shows an emotion for the `number`-th time."""
    rng = _rng(how, person, number, emotion)
    return _picture(how, _person(how.seed, person), sample_expression(emotion, rng), rng)


def draw_units(how: Making, person: int, units: Mapping[int, float], number: int) -> Drawn:
    """Person `person` shows action units at intensities in [0, 1], both sides alike."""
    rng = _rng(how, person, number, "units")
    actions = Actions(dict(units), dict(units))
    return _picture(how, _person(how.seed, person), Expression("neutral", 0.0, actions), rng)


def turns(how: Making, classes: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """(class, person, number): every class `each` times, people in turn."""
    for place, name in enumerate(classes):
        for number in range(how.each):
            yield name, (place + number) % how.people, number


def save(image: NDArray[np.uint8], path: Path) -> None:
    """Write a picture in the format of its name; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=95) if path.suffix == ".jpg" else Image.fromarray(image).save(
        path
    )


def _picture(how: Making, person: Person, expression: Expression, rng: np.random.Generator) -> Drawn:
    scene = sample_scene(person, expression.actions, rng, "studio")
    shown = Expression(expression.emotion, expression.intensity, person.act(expression.actions))
    image = render(scene, open_rig("builtin"), how.size).image
    units = {n: shown.actions.intensity(n) for n in shown.actions.active(0.01)}
    return Drawn(image, units, describe(shown, rng, scene.pose, scene.gaze))


def _rng(how: Making, person: int, number: int, what: str) -> np.random.Generator:
    return np.random.default_rng([how.seed, _BENCHMARK, person, number, *what.encode()])


@cache
def _person(seed: int, number: int) -> Person:
    return sample_person(int(np.random.default_rng([seed, _BENCHMARK, number]).integers(2**63)))
