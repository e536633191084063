"""A movie of the face world: its plan, drawn from a seed, and what is true of it.

Shots follow each other with hard cuts. A shot has nobody, or one to three people who move slowly, each with a
few moments of one expression; some shots are out of focus, far away, in profile, or a take shown before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import DataError
from mien.faces.emotions import BASIC

KINDS = ("plain", "plain", "blurred", "plain", "small", "repeat", "empty", "profile")
"""Kinds of shot, in the order in which they come."""

TRUTH = "truth.json"
"""What is true of a movie, beside `movie.mp4`: shots, tracks with a box per frame, people, repeats."""

KEYS = 4
"""Moments of an expression in a track."""

_FACE = 0.385  # side of the face box relative to that of the actor's picture


@dataclass(frozen=True)
class Actor:
    """One person in one shot.

    Attributes:
        person: number of the person.
        emotion: class of the expression.
        yaw: of the head, degrees.
        start: (x, y) of the centre of the actor's square picture at the first frame, pixels.
        end: the same at the last frame.
        side: of that square at the first and the last frame, pixels.
        blur: standard deviation of the defocus, pixels.
        seed: of the expression, its course, pitch, roll and light.
    """

    person: int
    emotion: str
    yaw: float
    start: tuple[float, float]
    end: tuple[float, float]
    side: tuple[float, float]
    blur: float
    seed: int

    def at(self, part: float) -> tuple[float, float, float]:
        """Centre (x, y) and side in pixels at a part in [0, 1] of the shot."""
        mixed = [a + (b - a) * part for a, b in zip((*self.start, self.side[0]), (*self.end, self.side[1]))]
        return mixed[0], mixed[1], mixed[2]


@dataclass(frozen=True)
class Shot:
    """Frames `first` to `last` (inclusive) of one take.

    `repeat_of` is the shot whose take is shown again, None for a new one; `scene` seeds the surroundings.
    """

    number: int
    kind: str
    first: int
    last: int
    scene: int
    actors: tuple[Actor, ...]
    repeat_of: int | None

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class MoviePlan:
    """Everything that decides a movie: frames of `width` x `height` pixels, `fps` a second."""

    seconds: float
    people: int
    seed: int
    width: int = 800
    height: int = 450
    fps: int = 12
    shot_seconds: float = 4.0

    def check(self, out: Path) -> None:
        """Refuse numbers that make no movie.

        Raises:
            DataError: naming the number.
        """
        for holds, what, fix in (
            (1 <= self.seconds <= 36_000, f"a movie of {self.seconds} s", "give 1 to 36000"),
            (1 <= self.people <= 10_000, f"a movie of {self.people} people", "give 1 to 10000"),
            (self.seed >= 0, f"seed {self.seed} is negative", "give 0 or more"),
            (1 <= self.fps <= 60, f"{self.fps} frames a second", "give 1 to 60"),
            (self.shot_seconds >= 0.5, f"shots of {self.shot_seconds} s", "give 0.5 or more"),
            (
                240 <= self.height <= 2160 and 320 <= self.width <= 4096,
                f"frames of {self.width} x {self.height}",
                "give 320 x 240 to 4096 x 2160",
            ),
            (self.width % 2 == 0 and self.height % 2 == 0, "frames of odd size", "give even numbers"),
        ):
            if not holds:
                raise DataError(what, where=out, fix=fix)

    def shots(self) -> list[Shot]:
        """The shots in order; together they have every frame once."""
        rng = np.random.default_rng([self.seed, 0x4D4F56])
        total, shots = round(self.seconds * self.fps), list[Shot]()
        cast = self._cast(rng)
        while (first := shots[-1].last + 1 if shots else 0) < total:
            frames = max(self.fps // 2, round(self.shot_seconds * self.fps * rng.uniform(0.6, 1.4)))
            if total - first - frames < self.fps // 2:
                frames = total - first
            kind = KINDS[len(shots) % len(KINDS)]
            if kind == "repeat" and (old := self._takes(shots)):
                take = old[int(rng.integers(len(old)))]
                last = min(first + take.frames, total) - 1
                again = (len(shots), kind, first, last, take.scene, take.actors, take.number)
                shots.append(Shot(*again))
                continue
            actors = tuple(self._actors(kind, rng, cast))
            scene = int(rng.integers(2**31))
            shots.append(Shot(len(shots), kind, first, first + frames - 1, scene, actors, None))
        return shots

    def _cast(self, rng: np.random.Generator) -> Iterator[int]:
        while True:
            yield from rng.permutation(self.people).tolist()

    def _takes(self, shots: list[Shot]) -> list[Shot]:
        """Takes that may be shown again: sharp, with people, and not the one just before the cut."""
        return [shot for shot in shots[:-1] if shot.kind == "plain"]

    def _actors(self, kind: str, rng: np.random.Generator, cast: Iterator[int]) -> Iterator[Actor]:
        if kind == "empty":
            return
        count = 1 if kind == "profile" else int(rng.integers(1, 4))
        chosen = list(dict.fromkeys(next(cast) for _ in range(count)))
        slot = self.width / len(chosen)
        for place, person in enumerate(chosen):
            yield self._actor(kind, rng, person, (place + 0.5) * slot, slot)

    def _actor(self, kind: str, rng: np.random.Generator, person: int, middle: float, slot: float) -> Actor:
        low, high = (0.11, 0.155) if kind == "small" else (0.27, 0.42)
        face = rng.uniform(low, high) * self.height
        if slot < self.width / 2:
            face = min(face, 0.52 * slot)
        side = face / _FACE
        # Neighbours keep to their own third or half, so boxes of faces never overlap.
        roam = max(slot / 2 - 0.6 * face, 0)
        ends = [
            (
                middle + rng.uniform(-roam, roam),
                self.height * 0.52 + rng.uniform(-0.3, 0.3) * (self.height - 1.5 * face),
            )
            for _ in range(2)
        ]
        turned = rng.uniform(68, 85) if kind == "profile" else abs(rng.normal(0, 16))
        return Actor(
            person=person,
            emotion=BASIC[int(rng.integers(len(BASIC)))],
            yaw=float(rng.choice([-1, 1]) * min(turned, 85 if kind == "profile" else 40)),
            start=ends[0],
            end=ends[1],
            side=(side, side * float(rng.uniform(0.94, 1.06))),
            blur=face * float(rng.uniform(0.035, 0.05)) if kind == "blurred" else 0.0,
            seed=int(rng.integers(2**31)),
        )


def load_truth(path: Path) -> dict[str, Any]:
    """Read a movie's `truth.json`, or the one in the folder given.

    Raises:
        DataError: if it is absent or not of this kind.
    """
    path = path / TRUTH if path.is_dir() else path
    fix = "give the folder that `mien data emocap sample-movie` wrote"
    if not path.is_file():
        raise DataError("no truth of a movie", where=path, fix=fix)
    try:
        truth = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"not valid JSON: {error}", where=path, fix=fix) from error
    if not isinstance(truth, dict) or truth.get("format") != "mien-movie/1":
        raise DataError("not the truth of a movie", where=path, fix=fix)
    return truth
